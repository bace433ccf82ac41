"""The options that say which files make up a set of scenes: `SceneSpec` is the whole file, `SceneLayer` one modality of it."""

import re
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator

from eofuse.config import Options
from eofuse.data.reading.formats import endings
from eofuse.data.reading.rasters import Part
from eofuse.data.sources.scenes.safe import masked_codes
from eofuse.data.sources.table.spec import ModalitySpec
from eofuse.data.specs.dates import ALL, MARK, RULES, WRITTEN, day_of
from eofuse.data.specs.layers import OLD_KEYS, LayerSpec, Name, check_names
from eofuse.errors import did_you_mean

BAND_MARKS = ("{band}", "{channel}")
"""What stands for a band in the path of a file; the second is an older spelling."""


class SceneLayer(LayerSpec):
    """One modality of scenes; see `LayerSpec`.

    Attributes:
        table: of values without pixels: path of a table with a column `scene`, whose row of a scene all of its patches share.
        decimal: decimal separator of the numbers of a CSV.
    """

    table: Name | None = None
    decimal: Literal[".", ","] = "."

    @model_validator(mode="after")
    def _check(self) -> "SceneLayer":
        if self.table is not None:
            if self.table.startswith("/"):
                raise ValueError("table must be relative to root; set root")
            if self.date is not None:
                raise ValueError("date has a meaning for files only")
            self.as_columns()
            return self
        for key in ("column", "columns", "dates", "date_columns", "date_files", "decimal", "rows"):
            if key in self.model_fields_set:
                raise ValueError(f"{key} has a meaning for tables only; name one as `table`")
        kinds = ("image_series",) if self.is_series else ("raster", "category")
        if self.kind not in (None, *kinds):
            why = "takes all dates" if self.is_series else "has files and polygons"
            raise ValueError(f"the modality {why}, so kind can't be {self.kind} without `table`")
        if isinstance(self.categories, tuple):
            raise ValueError("categories of a map of classes are listed by code, like {1: water, 2: forest}")
        if sum(given is not None for given in (self.files, self.safe, self.polygons)) != 1:
            raise ValueError("give either files, safe or polygons")
        if self.pattern is not None and self.pattern.startswith("/"):
            raise ValueError("files must be relative to root; set root")
        self._check_safe()
        self._check_date()
        if self.kind == "raster" and (self.polygons or self.categories):
            raise ValueError("polygons and categories make a map of classes, so kind must be category")
        if self.polygons is not None and self.resampling is not None:
            raise ValueError("resampling has no meaning for polygons: a pixel has the class in which its centre lies")
        return self

    def _check_safe(self) -> None:
        if self.safe is None:
            if self.mask is not None:
                raise ValueError("mask names classes of a Sentinel-2 product, so it needs safe")
            return
        if "{scene}" not in self.safe:
            raise ValueError("safe must have {scene} in its path")
        if self.kind == "category" or self.categories:
            raise ValueError("the bands of a Sentinel-2 product are no map of classes")
        masked_codes(self.mask or ())

    def _check_date(self) -> None:
        has_dates = MARK in str(self.files)
        if self.date is None:
            if has_dates:
                rules = ", ".join((*RULES, ALL))
                raise ValueError(f"files have {MARK} in their path; say which by `date`: {rules}, or a day")
            return
        if not has_dates and not self.is_dated_file:
            raise ValueError(f"date chooses among files with {MARK} in their path")
        if self.is_series and self.categories:
            raise ValueError("a series of images can't hold classes: choose one date")
        if self.date not in (*RULES, ALL) and (day_of(self.date) is None or not re.fullmatch(WRITTEN, self.date)):
            raise ValueError(f"date must be {', '.join((*RULES, ALL))}, or a day such as 2023-07-15")

    def as_columns(self) -> ModalitySpec:
        """What its columns are, as a spec of a table says it.

        Raises:
            ValueError: if its keys don't fit each other, or it has pixels.
        """
        keys = self.model_fields_set - {"table", "decimal"}
        try:
            found = ModalitySpec.model_validate({key: getattr(self, key) for key in keys})
        except ValidationError as error:
            raise ValueError(error.errors()[0]["msg"].removeprefix("Value error, ")) from None
        if found.kind == "raster":
            raise ValueError("table is of values without pixels; leave it out beside files")
        return found

    @property
    def is_series(self) -> bool:
        """Whether it takes every date, as a series of images."""
        return self.date == ALL

    @property
    def is_dated_file(self) -> bool:
        """Whether a file of it may hold several dates, and tell them."""
        of_other_formats = str(self.files).lower().endswith(endings(dated=False))
        return self.files is not None and MARK not in self.files and not of_other_formats and not self.has_file_per_band

    def part(self, row: int | None = None) -> Part:
        """What is wanted of a file of arrays."""
        return replace(super().part(row), dated=self.date is not None and self.is_dated_file)

    @property
    def pattern(self) -> str | None:
        """The pattern of its files or product folders, None of polygons and tables."""
        return self.files if self.safe is None else self.safe

    @property
    def has_file_per_band(self) -> bool:
        """Whether each band has its own file."""
        return any(mark in str(self.files) for mark in BAND_MARKS)

    def path_of(self, band: str) -> str:
        """The pattern of the file of a band."""
        path = str(self.files)
        for mark in BAND_MARKS:
            path = path.replace(mark, band)
        return path


class SceneSpec(Options):
    """A set of scenes that is cut into patches.

    Attributes:
        name: name of the dataset.
        root: folder to which the paths of files are relative; it is itself relative to the folder of the spec.
        reference: modality on whose grid all others are brought; the first with files by default.
        modalities: by name.
        scenes: those wanted; by default, all for which the reference has a file.
        block: side in patches of the blocks of the index, which splits by `blocks` keep together.
        simulated: whether the pixels are simulated.
    """

    name: str = Field(min_length=1)
    root: str = "."
    reference: str | None = None
    modalities: Annotated[dict[str, SceneLayer], AfterValidator(check_names)] = Field(min_length=1)
    scenes: tuple[str, ...] | None = Field(default=None, min_length=1)
    block: int = Field(default=1, ge=1)
    simulated: bool = False

    @model_validator(mode="after")
    def _check(self) -> "SceneSpec":
        with_files = [name for name, layer in self.modalities.items() if layer.pattern is not None]
        if not with_files:
            raise ValueError("a modality with files is needed as reference")
        if self.reference is not None and self.reference not in with_files:
            raise ValueError(
                f"reference '{self.reference}' is no modality with files; {did_you_mean(self.reference, with_files)}"
            )
        reference = self.modalities[self.reference or with_files[0]]
        if "{scene}" not in str(reference.pattern):
            raise ValueError("the files of the reference must have {scene} in their path")
        if reference.date == "nearest":
            raise ValueError("the reference can't take the date nearest to itself; choose first, last or a day")
        if self.scenes is not None and len(set(self.scenes)) < len(self.scenes):
            raise ValueError("a scene is named twice")
        return self

    def recorded(self) -> dict[str, Any]:
        """What `store.json` keeps of it, by the keys that versions before had: a store that was cut by one is done."""
        values = self.model_dump(mode="json", exclude={"root"}, exclude_defaults=True)
        for layer in values["modalities"].values():
            for old, today in OLD_KEYS.items():
                if today in layer:
                    layer[old] = layer.pop(today)
        return values

    @property
    def with_pixels(self) -> dict[str, SceneLayer]:
        """The modalities with pixels, by name."""
        return {name: layer for name, layer in self.modalities.items() if layer.table is None}

    @property
    def reference_name(self) -> str:
        """Name of the reference modality."""
        return self.reference or next(name for name, layer in self.modalities.items() if layer.pattern is not None)
