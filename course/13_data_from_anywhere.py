# %% [markdown]
# # 13. Data from anywhere
#
# Somebody has surveyed fields, and knows the crop at some places and days. The images lie in an archive with millions of
# scenes. This chapter brings both together: a file of labels and a catalogue become a store. Then it reads data that
# came in other forms, and hands a store on to others.
#
# ## What you will learn
#
# - What a STAC catalogue is, and how `collect` finds the right image for each place and day.
# - What happens to clouds, to broken files, and to places that no image shows: nothing is invented, everything is listed.
# - How folders of pictures, arrays and NetCDF become stores.
# - How a store leaves again: as xarray, or published, with checksums.

# %% [markdown]
# ## An archive
#
# In earnest the archive would be on the web: the Sentinel-2 collection of Earth Search or the Planetary Computer. So that
# this chapter runs without a network, we write a small one, **simulated**: two tiles side by side, each seen on two days
# of July. Each band of each day is a file of its own, an **asset**. A class a pixel (`SCL`) says where clouds are. One
# scene with its files, place and day is an **item**, and a **catalogue** lists the items. (Two extras are needed here: `pip
# install 'eofuse[stac,xarray]'`.)

# %%
import http.server
import json
import os
import shutil
import subprocess
import threading
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pystac
import rasterio
import xarray
from rasterio.transform import from_origin
from rasterio.warp import transform, transform_bounds

import eofuse

work = Path("course-data/ch13")  # everything this chapter writes is in here
shutil.rmtree(work, ignore_errors=True)
_ = os.environ.pop("FORCE_COLOR", None)  # commands in a notebook write plain text

# %%
ZONE, LEFT, TOP, SIDE = "EPSG:32633", 400_000, 5_000_000, 160  # tiles of 160 × 160 pixels of 10 m
CROPS = {"wheat": (0.06, 0.42), "maize": (0.12, 0.30), "beet": (0.05, 0.55)}  # red and near infrared in July
random = np.random.default_rng(0)
crops = random.integers(0, 3, (SIDE // 20, 2 * SIDE // 20))  # fields of 20 × 20 pixels
variety = random.normal(0, 0.02, crops.shape)  # no field is like the other


def write(path, values, pixel, left):
    """A GeoTIFF (height, width) whose upper left corner is at `left`, in the row of tiles."""
    path.parent.mkdir(parents=True, exist_ok=True)
    grid = {"crs": ZONE, "transform": from_origin(left, TOP, pixel, pixel), "nodata": 0}
    with rasterio.open(path, "w", "GTiff", values.shape[1], values.shape[0], 1, dtype=values.dtype, **grid) as file:
        file.write(values, 1)


def scene(tile, clouds):
    """Bands of a tile as stored, 10,000 times the reflectance, and classes of pixels of 20 m: 4 is vegetation, 9 cloud."""
    fields, square = np.s_[:, tile * 8 : tile * 8 + 8], np.ones((20, 20), dtype=int)
    means = np.array(list(CROPS.values()))[crops[fields]] + variety[fields][..., None]
    towers = np.kron(random.random((6, 6)), np.ones((14, 14)))[:80, :80]
    cloudy = towers < clouds
    cover = np.kron(cloudy, np.ones((2, 2), dtype=bool))
    reflectance = np.kron(means, square[..., None]) + random.normal(0, 0.02, (SIDE, SIDE, 2))
    bands = np.where(cover[..., None], 0.7, reflectance).clip(0.001) * 10_000
    return bands.transpose(2, 0, 1).astype("uint16"), np.where(cloudy, 9, 4).astype("uint8")


# %% [markdown]
# `pystac` writes the catalogue: JSON files that name each other. An item needs the outline in degrees, the day, and what
# one wants to choose by, such as the share of clouds.


# %%
def item(name, when, outline, **properties):
    """A STAC item of pixels that cover (left, bottom, right, top)."""
    west, south, east, north = transform_bounds(ZONE, "EPSG:4326", *outline)
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    day = pd.Timestamp(when, tz="UTC").to_pydatetime()
    shape = {"type": "Polygon", "coordinates": [ring]}
    return pystac.Item(name, shape, [west, south, east, north], day, {"proj:code": ZONE, **properties})


CLOUDS = {
    ("west", "2024-07-05"): 0.0,
    ("west", "2024-07-15"): 0.5,
    ("east", "2024-07-05"): 0.6,
    ("east", "2024-07-15"): 0.1,
}
catalogue = pystac.Catalog("archive", "A small archive of simulated scenes")
everywhere = pystac.Extent(pystac.SpatialExtent([[-180, -90, 180, 90]]), pystac.TemporalExtent([[None, None]]))
optical = pystac.Collection("optical", "Two tiles on two days", everywhere, license="CC-BY-4.0")
catalogue.add_child(optical)
for (tile, day), clouds in CLOUDS.items():
    left = LEFT + (tile == "east") * SIDE * 10
    here = item(
        f"{tile}-{day}", day, (left, TOP - SIDE * 10, left + SIDE * 10, TOP), **{"eo:cloud_cover": 100 * clouds}
    )
    bands, classes = scene(int(tile == "east"), clouds)
    for band, values, pixel in (("B04", bands[0], 10), ("B08", bands[1], 10), ("SCL", classes, 20)):
        path = work / "archive" / "files" / here.id / f"{band}.tif"
        write(path, values, pixel, left)
        here.add_asset(band, pystac.Asset(str(path.resolve()), roles=["data"]))
    optical.add_item(here)
catalogue.normalize_and_save(str(work / "archive"), pystac.CatalogType.ABSOLUTE_PUBLISHED)
print(json.dumps(here.to_dict()["assets"], indent=1).replace(f"{Path.cwd()}/", "")[:160], "…")

# %% [markdown]
# ## Labels
#
# Sixty surveyed fields: a point, the crop, the day of the visit, the farm. Two of them lie outside of everything that the
# archive shows, as it happens.

# %%
chosen = random.choice(crops.size, 60, replace=False)
rows, columns = np.divmod(chosen, crops.shape[1])
x, y = LEFT + 200 * columns + 100.0, TOP - 200 * rows - 100.0
x[:2] += 20_000  # outside
lon, lat = transform(ZONE, "EPSG:4326", x, y)
features = [
    {
        "type": "Feature",
        "geometry": {"type": "Point", "coordinates": [lon[number], lat[number]]},
        "properties": {
            "id": f"field-{number}",
            "crop": list(CROPS)[crops[rows[number], columns[number]]],
            "surveyed": f"2024-07-{8 + number % 10:02}",
            "farm": f"farm-{rows[number] // 2}-{columns[number] // 2}",
        },
    }
    for number in range(60)
]
_ = (work / "fields.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))

# %% language="bash"
# cd course-data/ch13
# eofuse init fields.geojson -o first.yaml
# cat first.yaml

# %% [markdown]
# `init` found the columns, and writes down what only you can decide. We decide:

# %%
_ = (work / "collect.yaml").write_text("""\
name: fields
simulated: true
labels: {file: fields.geojson, property: crop, group: farm}
patch: {size: 16, resolution: 10}
time: {column: surveyed, within: 10 days}
modalities:
  optical:
    stac: archive/catalog.json
    collection: optical
    assets: {B04: B04, B08: B08}
    scale: 0.0001
    unit: reflectance
    choose: least_cloudy
    mask: scl
""")

# %% [markdown]
# Read it from above: around each point a patch of 16 × 16 pixels of 10 m, in the UTM zone of the place. Of the images
# within ten days of the visit, the one with the fewest clouds. Cloudy pixels are missing values. Fields of one farm
# belong together: no split will tear them apart.
#
# `check` reads labels and catalogue, but no pixels: an error in a name should not cost an hour of downloads.

# %% language="bash"
# cd course-data/ch13
# eofuse check collect.yaml -q

# %% [markdown]
# Archives break. One file of the eastern tile arrives truncated:

# %%
broken = work / "archive/files/east-2024-07-15/B08.tif"
whole = broken.read_bytes()
_ = broken.write_bytes(whole[:2000])

# %% language="bash"
# cd course-data/ch13
# eofuse collect collect.yaml fields.store -q

# %% [markdown]
# ## What came, and what did not
#
# The command went on, and says what is missing. The list names patch, asset and reason:

# %%
missing = pd.read_csv(work / "fields.store.missing.csv")
missing.groupby(["item", "asset", "reason"], dropna=False).size().rename("patches").reset_index()

# %% [markdown]
# Three kinds of gap, and three answers:
#
# - **Outside**: no item shows two of the places.
# - **Clouds**: in some patches every pixel is masked.
# - **Broken**: the near infrared of the eastern tile can't be read. Those patches keep their red band, and near infrared
#   is missing there.
#
# Patches that lack everything are not in the store. Nothing was filled in, and nothing was lost without a word: each
# label is in the store or in the list. The index says of each patch what it was made of:

# %%
store = eofuse.open_store(work / "fields.store")
index = store.index.assign(visited=store.index["time"].str[:10], image=store.index["time_optical"].str[:10])
index[["patch_id", "crop", "scene", "visited", "image", "items.optical", "nodata.optical"]].sample(5, random_state=1)

# %%
figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
axes.imshow(crops, extent=(LEFT, LEFT + 3200, TOP - 1600, TOP), cmap="YlGn", alpha=0.5, vmax=4)
for taken, rows_of_item in index.groupby("items.optical"):
    axes.scatter(rows_of_item["ulx"] + 80, rows_of_item["uly"] - 80, label=taken, edgecolors="k", linewidths=0.4)
axes.set(xlabel="easting (m)", ylabel="northing (m)", title=f"{len(store)} patches, and the item that each took")
_ = axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3)

# %% [markdown]
# In the western tile most patches took 5 July, which has no clouds. A few took the cloudy 15 July: they were visited on
# 16 July or later, and 5 July is more than ten days from that.
#
# Pixels are those of the files, not resampled, since both lie on one grid. Trust, and check:

# %%
patch = index[index["items.optical"] == "west-2024-07-05"].iloc[0]
with rasterio.open(work / "archive/files/west-2024-07-05/B04.tif") as file:
    top, left_column = file.index(patch["ulx"] + 5, patch["uly"] - 5)
    there = file.read(1)[top : top + 16, left_column : left_column + 16]
assert (store[patch["patch_id"]]["optical"][0] == there).all()

# %% tags=["remove-cell"]
assert {feature["properties"]["id"] for feature in features} - set(index["patch_id"]) <= set(missing["patch_id"])
assert len(store) >= 50
assert index.loc[index["items.optical"] == "west-2024-07-15", "visited"].min() > "2024-07-15"
assert set(missing["reason"].str[:7]) == {"no item", "no pixe", "can't b"}

# %% [markdown]
# From here on it is a store as any other: a recipe with `data: {store: fields.store}` trains on it, and everything of the
# earlier chapters works. The farms are its scenes.
#
# ## Other forms
#
# Not everybody has an archive. `init` looks at what you have, says what it is, and writes a first description. `pack`
# makes the store. Three common forms:
#
# **A folder a class.** Pictures from a competition or a drone:

# %%
for number in range(24):
    name = list(CROPS)[number % 3]
    folder = work / "photos" / name
    folder.mkdir(parents=True, exist_ok=True)
    red, infrared = CROPS[name]
    picture = np.clip(random.normal([infrared, red, 0.1], 0.05, (24, 24, 3)), 0, 1)
    plt.imsave(folder / f"{number}.jpg", picture)

found = eofuse.init(work / "photos", work / "photos.yaml")
print((work / "photos.yaml").read_text())
photos = eofuse.pack(work / "photos.yaml", work / "photos.store")

# %% [markdown]
# **Arrays beside a table.** `rows: true` says that the first axis goes with the rows of the table:

# %%
chips = np.stack([[np.full((8, 8), value) for value in CROPS[name]] for name in list(CROPS) * 10]).astype("float32")
np.save(work / "chips.npy", chips + random.normal(0, 0.02, chips.shape).astype("float32"))
pd.DataFrame({"name": list(CROPS) * 10, "site": np.arange(30) // 6}).to_csv(work / "chips.csv")
_ = (work / "chips.yaml").write_text("""\
name: chips
simulated: true
table: chips.csv
scene: site
labels: {name: class}
modalities:
  camera: {kind: raster, files: chips.npy, rows: true, bands: [B04, B08], unit: reflectance}
""")

chips = eofuse.pack(work / "chips.yaml", work / "chips.store")

# %% [markdown]
# **NetCDF or Zarr**, as climate and time series come. This file holds 20 places with six dates each, and says so by the
# names of its axes:

# %%
days = pd.date_range("2024-04-01", periods=6, freq="14D")
values = random.random((20, 6, 8, 8)).astype("float32")
cube = xarray.Dataset(
    {"ndvi": (("sample", "time", "y", "x"), values), "crop": ("sample", [list(CROPS)[n % 3] for n in range(20)])},
    {"sample": np.arange(20), "time": days},
)
cube.to_netcdf(work / "season.nc", engine="h5netcdf")
eofuse.init(work / "season.nc", work / "season.yaml")
season = eofuse.pack(work / "season.yaml", work / "season.store")

# %%
for made in (photos, chips, season):
    layout = ", ".join(f"{key}: {value.kind} {made[0][key].shape}" for key, value in made.modalities.items())
    print(f"{made.path.stem:7} {len(made)} samples, {layout}")
assert season.modality("ndvi").kind == "image_series"

# %% [markdown]
# (All three have no place and no scene. `init` says so, and that a random split may then put neighbours on both sides:
# see [chapter 2](02_the_data.py).)

# %% [markdown]
# ## Out again
#
# `to_xarray` gives the store to whoever works with xarray. Nothing is read before it is used, and `decode_cf` turns
# stored numbers into reflectance:

# %%
optical = xarray.decode_cf(store.to_xarray())["optical"]
red, infrared = (optical.sel(optical_channel=band) for band in ("B04", "B08"))
ndvi = ((infrared - red) / (infrared + red)).mean(("y", "x"))
print(ndvi.groupby("crop").mean().to_series().round(2).to_string())
print("fields without near infrared:", int(ndvi.isnull().sum()))
assert ndvi.isnull().sum() == (index["items.optical"] == "east-2024-07-15").sum()

# %% [markdown]
# `publish` writes a folder for others: the data, a card that says what they are and under which licence, a list of
# checksums. Any server of files will do. We play both sides: a server here, and a colleague who downloads.

# %% language="bash"
# cd course-data/ch13
# eofuse publish fields.store published --as store --licence CC-BY-4.0 -q
# ls published
# head -12 published/README.md


# %%
class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files without a word."""

    def log_message(self, *words):
        """Says nothing."""


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=work / "published"))
threading.Thread(target=server.serve_forever, daemon=True).start()
there = eofuse.download(f"http://127.0.0.1:{server.server_port}", work / "colleague")
server.shutdown()
assert eofuse.open_store(there).fingerprint == store.fingerprint
print("the colleague has", there.relative_to(work))

# %% [markdown]
# Every file was compared with its checksum, and an interrupted download goes on where it broke off. The fingerprint is
# that of our store: results on it can be compared.
#
# ## What we saw
#
# - A catalogue lists scenes with place, day and clouds. `collect` takes for each label the image that the spec asks for,
#   and cuts out a patch.
# - Clouds, broken files and places without an image become missing values or left-out patches, and stand in a list.
# - `init` recognises tables, folders, arrays and NetCDF; you decide what no program can know: units, scenes, what is a
#   label.
# - A store leaves as xarray, or published with licence and checksums.
#
# ## Exercises
#
# ### Exercise 1: repair
#
# Put the whole file back and collect again (`--overwrite`). How many patches does the list still hold, and why?

# %% tags=["hide-cell"]
_ = broken.write_bytes(whole)
command = ["eofuse", "collect", str(work / "collect.yaml"), str(work / "repaired.store"), "-q"]
subprocess.run(command, check=True, capture_output=True)
still = pd.read_csv(work / "repaired.store.missing.csv")
print(still[["patch_id", "item", "reason"]].to_string(index=False))
assert still["asset"].isna().all()
# The places outside, and those that a cloud covers. No file was broken; there is nothing to repair.

# %% [markdown]
# ### Exercise 2: nearest, or clearest?
#
# Change `choose` to `nearest` (`modalities.optical.choose=nearest` at the end of the command). How far are image and visit
# apart on average, and how many pixels are missing, for both ways?

# %% tags=["hide-cell"]
command[3] = str(work / "nearest.store")
subprocess.run([*command, "modalities.optical.choose=nearest"], check=True, capture_output=True)
found = {}
for name in ("repaired", "nearest"):
    table = eofuse.open_store(work / f"{name}.store").index
    apart = (pd.to_datetime(table["time_optical"]) - pd.to_datetime(table["time"])).dt.days.abs()
    found[name] = {"days apart": apart.mean(), "missing": table["nodata.optical"].mean(), "patches": len(table)}
print(pd.DataFrame(found).T.rename({"repaired": "least_cloudy"}).round(2))
assert found["nearest"]["days apart"] < found["repaired"]["days apart"]
assert found["nearest"]["missing"] > found["repaired"]["missing"]
# Nearer in time, and more clouds, which cost whole patches, too. A crop stays for weeks; of a flood, the nearest day counts.

# %% [markdown]
# ### Exercise 3: the classic mistake
#
# Swap longitude and latitude in a copy of the labels. What does `check` say?

# %% tags=["hide-cell"]
swapped = json.loads((work / "fields.geojson").read_text())
for feature in swapped["features"]:
    feature["geometry"]["coordinates"].reverse()
(work / "swapped.geojson").write_text(json.dumps(swapped))
(work / "swapped.yaml").write_text((work / "collect.yaml").read_text().replace("fields.geojson", "swapped.geojson"))
result = subprocess.run(["eofuse", "check", str(work / "swapped.yaml"), "-q"], capture_output=True, text=True)
print(result.stdout)
assert "swapped, they would" in result.stdout
# It is found from the catalogue: the places lie outside of all that it shows, and would not if they were swapped.

# %% [markdown]
# ## What to read
#
# - The [STAC specification](https://stacspec.org), and M. Hanson et al., *The open-source software ecosystem for
#   leveraging public datasets in spatio-temporal asset catalogs (STAC)*, 2019.
# - [Collect patches around labels](../docs/collect.md): every key, and what items a patch takes. [Bring a
#   table](../docs/tables.md), [arrays](../docs/tables.md#arrays), [bring scenes](../docs/scenes.md).
# - [Data for others](../docs/data.md#for-others): the forms in which a store is published.
