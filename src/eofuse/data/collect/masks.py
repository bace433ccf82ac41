"""Labels as pixels: `labels_as_mask` makes their modality, `LabelMask` draws it, and pixels without a label are unlabelled."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import shapely
from rasterio.features import rasterize
from shapely.geometry import mapping

from eofuse.data.collect.labels import Label, Labels
from eofuse.data.collect.places import Place
from eofuse.data.collect.spec import LabelOptions, PatchOptions
from eofuse.data.reading.grid import transform_places
from eofuse.data.specs.layers import ClassSpec
from eofuse.data.store.georeference import named_crs
from eofuse.errors import DataError, UsageError, did_you_mean
from eofuse.modalities import Category, Channel, Kind, Modality, class_colour

LARGEST_CODE = 255


def labels_as_mask(options: LabelOptions, labels: Labels) -> Modality:
    """The modality of a mask: a code a class, and one that means unlabelled.

    Raises:
        UsageError: if the classes are too many, or the background is none of them.
        DataError: naming the label whose class is not listed.
    """
    name = str(options.target)
    values = [label.value for label in labels.labels if label.value is not None]
    if options.categories is not None:
        specs = {
            code: ClassSpec(name=each) if isinstance(each, str) else each for code, each in options.categories.items()
        }
        categories = tuple(
            Category(code, each.name, each.colour or class_colour(number))
            for number, (code, each) in enumerate(specs.items())
        )
    else:
        names = sorted({_word(value) for value in values} | ({options.background} if options.background else set()))
        if len(names) > LARGEST_CODE - 1:
            fix = "name those that matter as labels.categories, or another property"
            found = f"'{name}' has {len(names)} classes, at most {LARGEST_CODE - 1} make a mask"
            raise UsageError(found, where="labels.property", fix=fix)
        categories = tuple(Category(code, each, class_colour(code - 1)) for code, each in enumerate(names, start=1))
    codes = _codes(categories)
    if options.background is not None and options.background not in codes:
        fix = did_you_mean(options.background, [each.name for each in categories])
        raise UsageError(f"'{options.background}' is no class", where="labels.background", fix=fix)
    for label in labels.labels:
        if label.value is not None and _code(label, codes) is None:
            fix = did_you_mean(label.value, [each.name for each in categories])
            raise DataError(f"its class {label.value!r} is not in labels.categories", where=label.where, fix=fix)
    free = next((code for code in (0, LARGEST_CODE) if code not in {each.code for each in categories}), None)
    if free is None:
        raise UsageError("no code is left for unlabelled pixels", where="labels.categories", fix="leave 0 or 255 free")
    return Modality(
        name, Kind.RASTER, (Channel("class", unit="class"),), name, "uint8", nodata=free, categories=categories
    )


class LabelMask:
    """Draws labels on patches: a pixel has the class of the last polygon in which its centre lies, and of points in it.

    Args:
        options: what the spec says.
        labels: all of them.
        modality: as `labels_as_mask` gives it.
        patch: pixels of a patch.
    """

    def __init__(self, options: LabelOptions, labels: Labels, modality: Modality, patch: PatchOptions) -> None:
        self.modality, self._labels, self._patch = modality, labels.labels, patch
        self._codes = _codes(modality.categories)
        assert modality.nodata is not None
        self._fill = int(modality.nodata) if options.background is None else self._codes[options.background]
        turned = [(number, turn) for turn in (0, -360, 360) for number in range(len(self._labels))]
        bounds = np.array([label.geometry.bounds for label in self._labels])
        boxes = [shapely.box(*(bounds[number] + [turn, 0, turn, 0])) for number, turn in turned]
        self._owners = [number for number, _ in turned]
        self._tree = shapely.STRtree(boxes)

    def draw(self, place: Place) -> npt.NDArray[np.uint8]:
        """(1, size, size) codes of a patch."""
        near = sorted({self._owners[part] for part in self._tree.query(place.footprint(self._patch))})
        shapes = self._shapes(place, near)
        size = self._patch.size
        if not shapes:
            return np.full((1, size, size), self._fill, dtype=np.uint8)
        transform = place.grid(self._patch).transform
        drawn = rasterize(shapes, out_shape=(size, size), fill=self._fill, transform=transform, dtype="uint8")
        return np.asarray(drawn, dtype=np.uint8)[None]

    def _shapes(self, place: Place, numbers: Sequence[int]) -> list[tuple[dict[str, object], int]]:
        change = named_crs("EPSG:4326"), named_crs(place.crs)
        shapes = []
        for number in numbers:
            label = self._labels[number]
            code = _code(label, self._codes)
            if code is None or label.date != place.date:
                continue
            there = shapely.transform(
                label.geometry, lambda places: np.stack(transform_places(*change, *places.T), axis=1)
            )
            if np.isfinite(shapely.get_coordinates(there)).all():
                shapes.append((mapping(there), code))
        return shapes


def _word(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _codes(categories: Sequence[Category]) -> dict[object, int]:
    codes: dict[object, int] = {category.code: category.code for category in categories}
    return codes | {category.name: category.code for category in categories}


def _code(label: Label, codes: dict[object, int]) -> int | None:
    if label.value is None:
        return None
    found = codes.get(_word(label.value))
    return codes.get(label.value) if found is None else found
