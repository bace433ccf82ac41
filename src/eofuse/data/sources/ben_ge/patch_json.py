"""Reads the `_labels_metadata.json` of a BigEarthNet patch: labels, corner, coordinate system, and the paired patch."""

import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pyproj import CRS
from pyproj.exceptions import ProjError

from eofuse.data.sources.ben_ge.clc import CLC19, CLC43, group_labels
from eofuse.errors import DataError, did_you_mean
from eofuse.files import read_object


@dataclass(frozen=True)
class PatchJson:
    """What the label file of a patch says.

    Attributes:
        labels_43: its classes of the 43, None if unknown.
        labels_19: its classes of the 19, None if unknown.
        crs: coordinate system (`EPSG:32633`), None if not given.
        box: left, top, right and bottom in that system, NaN where not given.
    """

    labels_43: list[str] | None
    labels_19: list[str] | None
    crs: str | None
    box: tuple[float, float, float, float]


def read_patch_json(folder: str, patch_id: str, *, is_v2: bool = False) -> PatchJson | None:
    """Reads the label file in a patch's folder; None if there is none.

    Args:
        folder: the folder of the Sentinel-2 or Sentinel-1 patch.
        patch_id: the id by which the folder is called.
        is_v2: whether the patch is of reBEN, whose labels are of the 19 classes.

    Raises:
        DataError: if the file is no such JSON, or names an unknown class.
    """
    path = _path(folder, patch_id)
    content = _load(path)
    if content is None:
        return None
    labels_43, labels_19 = _labels(content, path, is_v2)
    try:
        coordinates = content.get("coordinates") or {}
        lower = coordinates.get("lry", coordinates.get("lly"))  # Sentinel-1 files say lly
        nan = float("nan")
        corners = (coordinates.get("ulx"), coordinates.get("uly"), coordinates.get("lrx"), lower)
        left, top, right, bottom = (nan if value is None else float(value) for value in corners)
    except (AttributeError, TypeError, ValueError) as error:
        raise DataError("'coordinates' are no numbers", where=path, fix="fetch the file again") from error
    return PatchJson(labels_43, labels_19, _crs(content, path), (left, top, right, bottom))


def read_corresponding_s2_patch(folder: str, patch_id_s1: str) -> str | None:
    """The Sentinel-2 patch that the label file of a Sentinel-1 patch names; None if it names none or is not there.

    Raises:
        DataError: if the file is no JSON object.
    """
    content = _load(_path(folder, patch_id_s1)) or {}
    name = content.get("corresponding_s2_patch")
    return None if name is None else str(name)


def check_labels(labels: Any, nomenclature: Sequence[str], where: object) -> list[str]:
    """The labels in the order of their nomenclature, `CLC43` or `CLC19`.

    Raises:
        DataError: if they are no list of names, or one is unknown.
    """
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise DataError("the labels are no list of names", where=where, fix="fetch the file again")
    for label in labels:
        if label not in nomenclature:
            raise DataError(f"unknown class '{label}'", where=where, fix=did_you_mean(label, nomenclature))
    return [name for name in nomenclature if name in labels]


def _path(folder: str, owner: str) -> str:
    return os.path.join(folder, f"{owner}_labels_metadata.json")  # noqa: PTH118 (a str, for speed)


def _load(path: str) -> dict[str, Any] | None:
    """The JSON object in a file, None if there is no file."""
    return read_object(path, "fetch the file again") if os.path.exists(path) else None  # noqa: PTH110 (a str, for speed)


def _labels(content: dict[str, Any], path: str, is_v2: bool) -> tuple[list[str] | None, list[str] | None]:
    given, given_19 = content.get("labels"), content.get("labels_19")
    labels_19 = None if given_19 is None else check_labels(given_19, CLC19, path)
    if not given:
        return None, labels_19
    if is_v2 and isinstance(given, list) and set(CLC19).issuperset(map(str, given)):
        return None, check_labels(given, CLC19, path) if labels_19 is None else labels_19
    labels_43 = check_labels(given, CLC43, path)
    grouped = group_labels(labels_43)
    if labels_19 is not None and labels_19 != grouped:
        raise DataError("'labels_19' does not follow from 'labels'", where=path, fix="correct the one that is wrong")
    return labels_43, grouped


def _crs(content: dict[str, Any], path: str) -> str | None:
    """The coordinate system by its EPSG code (reBEN's way) or its projection, a WKT."""
    given = content.get("epsg") or content.get("projection")
    if not given:
        return None
    try:
        return _epsg_name(given if isinstance(given, int) else str(given))
    except ProjError:
        raise DataError(f"no coordinate system: {str(given)[:40]}", where=path, fix="fetch the file again") from None


@functools.lru_cache(maxsize=256)
def _epsg_name(system: str | int) -> str | None:
    code = CRS.from_user_input(system).to_epsg()
    return None if code is None else f"EPSG:{code}"
