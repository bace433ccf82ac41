"""What a source of data is: `Source` knows its paths and opens them, `Samples` is what it opens.

A source registers itself in `SOURCES`; `find_source` finds the one for a path. Commands, messages and the walk of the tests read the
registry only, so that a source is one file, here or in a package with an entry point of the group `eofuse.sources`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from eofuse.config import read_yaml
from eofuse.data.problems import Problem
from eofuse.errors import UsageError
from eofuse.modalities import Modality
from eofuse.progress import Progress
from eofuse.registry import Registry
from eofuse.words import counted

SPEC_SUFFIXES = (".yaml", ".yml")
"""Endings of files that describe data."""

NO_PIXELS = (0, 0)
"""Patch size of samples without rasters."""

Arrays = dict[str, npt.NDArray[np.generic]]


@dataclass(frozen=True)
class Provenance:
    """How data came into a store, as its `store.json` keeps it.

    Attributes:
        key: the key of `store.json` under which it stands; "" for nothing of its own.
        labels: columns of the index to be predicted → `class`, `list` or `number`.
        facts: anything that can be written as JSON: spec, counts, `warped` (modality → rows or scenes that were brought to another
            grid), `resampling` (modality → method → number of them), `warnings`.
    """

    key: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The keys that it adds to `store.json`."""
        if not self.key:
            return {**({"labels": dict(self.labels)} if self.labels else {}), **self.facts}
        return {"labels": dict(self.labels), self.key: dict(self.facts)}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> "Provenance":
        """That of a store, of its `provenance`."""
        own = {key: facts for key, facts in values.items() if isinstance(facts, Mapping) and "spec" in facts}
        key = next(iter(own), "")
        return cls(key, values.get("labels", {}), own.get(key, {}))

    @property
    def warnings(self) -> list[str]:
        """What looked odd."""
        return list(self.facts.get("warnings", ()))

    @property
    def warped(self) -> Iterator[str]:
        """A line for each modality that was brought to another grid."""
        for name, where in self.facts.get("warped", {}).items():
            count = counted(where, "row") if isinstance(where, int) else counted(len(where), "scene")
            methods = self.facts.get("resampling", {}).get(name, {})
            how = f" ({', '.join(methods)})" if methods else ""
            yield f"{name}: brought to the reference's grid in {count}{how}"


class Samples(ABC):
    """Data that a source has opened: a row a sample, rasters and series read on demand.

    It is sent to other processes, so it holds no open file.

    Attributes:
        name: name of the dataset.
        modalities: those that at least one sample has.
        index: a row a sample; what `eofuse.data.store.index` has a default for may be missing.
        patch_size: (height, width) of every raster in pixels; (0, 0) where there are none.
        fingerprint: digest of everything that would be packed; the same for the same data.
        simulated: whether the values are simulated.
        problems: what is wrong with samples, or looks odd.
        provenance: how the data came about.
    """

    name: str
    modalities: tuple[Modality, ...]
    index: pd.DataFrame
    patch_size: tuple[int, int] = NO_PIXELS
    fingerprint: str
    simulated: bool = False
    problems: Sequence[Problem] = ()
    provenance: Provenance = Provenance()

    @abstractmethod
    def read(self, row: int) -> Arrays:
        """The rasters and series that a sample has, by modality, in the dtype of the modality.

        A raster is (channels, height, width), a series (steps, 1 + channels) as the store holds it.

        Raises:
            DataError: naming sample, band and file, if one can't be read or is not what it should be.
        """

    def check(self, row: int) -> list[Problem]:
        """Everything that is wrong with a sample, or looks odd."""
        from eofuse.data.check import check_sample

        return check_sample(self, row)


@dataclass(frozen=True)
class OpenOptions:
    """How a source is opened.

    Attributes:
        modalities: names of those wanted, all by default.
        overrides: `key.path=value` words that change a spec.
        size: side of the patches, where they are cut from something larger.
        overlap: pixels that neighbouring patches share.
        workers: processes that look at files; what is opened does not depend on it.
        progress: receives how many samples or files have been looked at.
    """

    modalities: Sequence[str] | None = None
    overrides: Sequence[str] = ()
    size: int | None = None
    overlap: int = 0
    workers: int = 1
    progress: Progress | None = None


class Source(ABC):
    """A sort of data that can be brought into a store.

    Attributes:
        title: what lies at such a path, as "a store".
        form: whether a path is a folder, a spec in YAML or another file.
        command: that brings it into a store.
        is_fallback: whether it takes paths of its form that no source accepts, to say what it looked for.
    """

    title: ClassVar[str]
    form: ClassVar[Literal["folder", "spec", "file"]] = "file"
    command: ClassVar[str] = "pack"
    is_fallback: ClassVar[bool] = False

    @abstractmethod
    def accepts(self, path: Path) -> bool:
        """Whether this source reads what lies at a path; cheap, and never an error."""

    @abstractmethod
    def open(self, path: Path, options: OpenOptions) -> Samples:
        """The samples at a path.

        Raises:
            UsageError: if an option or a spec is wrong.
            DataError: if a file is missing or not what it should be.
        """

    def check(self, path: Path, options: OpenOptions) -> list[Problem]:
        """Everything that is wrong at a path, or looks odd: errors before warnings."""
        from eofuse.data.check import check_samples

        return check_samples(self.open(path, options), options.progress, options.workers)

    def advice(self, path: Path) -> str:
        """What to do with a path that was named to a command that does not take it."""
        return f"`eofuse {self.command} {path} STORE`; `eofuse check {path}` lists its problems"


class SpecSource(Source):
    """A source whose paths are YAML files."""

    form = "spec"

    @abstractmethod
    def describes(self, values: Mapping[str, Any]) -> bool:
        """Whether the values of a YAML file are a spec of this source, as far as their keys show."""

    def accepts(self, path: Path) -> bool:
        """Whether the file can be read and has the keys of such a spec."""
        if path.suffix not in SPEC_SUFFIXES or not path.is_file():
            return False
        try:
            return self.describes(read_yaml(path))
        except UsageError:
            return False


SOURCES: Registry[type[Source]] = Registry("source of data", "eofuse.sources", "eofuse.data.sources")
"""Every source of data by its name."""
