"""Files of arrays with real pixels, for tests of formats: a patch a file, or all patches in one."""

import h5py
import numpy as np
import pandas as pd
import rasterio
import xarray as xr

BANDS = {"B02": 1, "B03": 2, "B04": 3}


def real_patches(shared, count=6, size=16):
    """Name, class, (3, size, size) uint16 of Sentinel-2, transform and reference system of some patches."""
    files = sorted((shared / "realdata" / "eurosat-100").glob("*/*.tif"))
    for path in files[:: len(files) // count][:count]:
        with rasterio.open(path) as file:
            values = file.read([1 + number for number in BANDS.values()])[:, :size, :size]
            yield path.stem, path.parent.name, values, file.transform, file.crs


def write_arrays(folder, shared, count=6, size=16):
    """Writes `samples.csv`; `{id}.nc` and `{id}.zarr` with a packed variable a band; `all.npy`, `all.npz`, `all.h5`, `all.nc`.

    Every second NetCDF file has rows that go up, as those of models do. Gives (patches, 3, size, size).
    """
    folder.mkdir(parents=True, exist_ok=True)
    names, labels, values = [], [], []
    for number, (name, label, pixels, transform, crs) in enumerate(real_patches(shared, count, size)):
        dataset = packed(pixels, transform, crs, upwards=number % 2 == 1)
        dataset.to_netcdf(folder / f"{name}.nc", engine="h5netcdf")
        if number < 2:
            dataset.to_zarr(folder / f"{name}.zarr", zarr_format=2 + number, consolidated=number == 0)
        names.append(name)
        labels.append(label)
        values.append(pixels)
    stacked = np.stack(values)
    pd.DataFrame({"id": names, "label": labels}).to_csv(folder / "samples.csv", index=False)
    np.save(folder / "all.npy", stacked)
    np.savez(folder / "all.npz", images=stacked, means=stacked.mean((2, 3)), season=stacked.mean(3))
    with h5py.File(folder / "all.h5", "w") as file:
        file.create_dataset("s2/images", data=np.moveaxis(stacked, 1, -1), chunks=(2, 8, 8, 3), compression="gzip")
        file["label"] = np.arange(count)
    xr.Dataset({"reflectance": (("patch", "band", "y", "x"), stacked)}, {"band": list(BANDS)}).to_netcdf(
        folder / "all.nc", engine="h5netcdf"
    )
    return stacked


def packed(pixels, transform, crs, upwards=False):
    """A dataset with a variable a band, packed by scale and fill value, on coordinates of a reference system."""
    height, width = pixels.shape[1:]
    x = transform.c + transform.a * (np.arange(width) + 0.5)
    y = transform.f + transform.e * (np.arange(height) + 0.5)
    order = slice(None, None, -1 if upwards else 1)
    attributes = {"scale_factor": 1e-4, "add_offset": 0.0, "_FillValue": np.uint16(0), "grid_mapping": "spatial_ref"}
    bands = {name: (("y", "x"), pixels[number, order], attributes) for number, name in enumerate(BANDS)}
    reference = ((), 0, {"crs_wkt": crs.to_wkt(), "grid_mapping_name": "transverse_mercator"})
    return xr.Dataset(bands, {"x": x, "y": y[order], "spatial_ref": reference})
