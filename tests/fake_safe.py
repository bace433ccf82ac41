"""Small product folders of Sentinel-2, in the layout of the Products Specification Document."""

from pathlib import Path

import numpy as np
import rasterio
from affine import Affine

METRES = dict.fromkeys(("B02", "B03", "B04", "B08"), 10) | dict.fromkeys(("B01", "B09", "B10"), 60)
BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
METADATA = {
    "L2A": ("MTD_MSIL2A.xml", "BOA_ADD_OFFSET", "BOA_QUANTIFICATION_VALUE", "Level-2A_User_Product"),
    "L1C": ("MTD_MSIL1C.xml", "RADIO_ADD_OFFSET", "QUANTIFICATION_VALUE", "Level-1C_User_Product"),
}


def write_product(
    folder: Path, bands, *, level="L2A", baseline="05.09", offset=-1000, classes=None, corner=(500_000.0, 5_000_000.0)
) -> Path:
    """Writes a product; `bands` are (H, W) by name, each in its own resolution, `classes` the scene classification at 20 m."""
    images = folder / "GRANULE" / "L_T33" / "IMG_DATA"
    for name, values in bands.items():
        metres = METRES.get(name, 20)
        path = f"R{metres}m/T33_{name}_{metres}m.jp2" if level == "L2A" else f"T33_{name}.jp2"
        _write(images / path, values.astype("uint16"), metres, corner)
    if classes is not None:
        _write(images / "R20m" / "T33_SCL_20m.jp2", classes.astype("uint8"), 20, corner)
    file, name, quantification, root = METADATA[level]
    offsets = "" if offset is None else "".join(f'<{name} band_id="{n}">{offset}</{name}>' for n in range(len(BANDS)))
    (folder / file).write_text(
        f'<?xml version="1.0" encoding="UTF-8"?>\n<n1:{root} xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/{root}.xsd">'
        f"<n1:General_Info><Product_Info><PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE></Product_Info>"
        f'<Characteristics><{quantification} unit="none">10000</{quantification}>{offsets}</Characteristics>'
        f"</n1:General_Info></n1:{root}>"
    )
    return folder


def _write(path: Path, values: np.ndarray, metres: int, corner) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    place = {"crs": "EPSG:32633", "transform": Affine(metres, 0, corner[0], 0, -metres, corner[1])}
    height, width = values.shape
    lossless = {"QUALITY": "100", "REVERSIBLE": "YES"}
    with rasterio.open(path, "w", "JP2OpenJPEG", width, height, 1, dtype=values.dtype, **place, **lossless) as file:
        file.write(values, 1)
