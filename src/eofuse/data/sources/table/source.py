"""A table of one's own as a source of samples: a row a sample, with its numbers, codes, series, and paths of its rasters.

`open_table` reads the table that a spec names (see `eofuse.data.sources.table.spec`) and looks at the header of every file;
`TableSamples.read` gives pixels and series of a row. What is wrong in single rows is collected in `problems`.
"""

import hashlib
import itertools
import json
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from eofuse.config import apply_overrides, parse_options, read_yaml
from eofuse.data.doors import require_kind
from eofuse.data.problems import errors_first
from eofuse.data.reading.addresses import is_virtual
from eofuse.data.reading.formats import file_states
from eofuse.data.reading.matching import mixed_values
from eofuse.data.reading.rasters import reading_environment
from eofuse.data.reading.tables import read_table_file
from eofuse.data.sources.base import NO_PIXELS, Arrays, Provenance, Samples
from eofuse.data.sources.table.arrays import read_array_values
from eofuse.data.sources.table.columns import Rows, facts, fill_scenes, other_columns, parse_columns, row_ids
from eofuse.data.sources.table.rasters import RowRasters
from eofuse.data.sources.table.spec import INDEX_KEYS, TableSpec
from eofuse.data.sources.table.survey import Survey, survey
from eofuse.data.sources.table.values import Values, read_values
from eofuse.data.store.georeference import centres, misplaced, set_grids
from eofuse.data.store.index import times_column
from eofuse.errors import DataError, UsageError, did_you_mean
from eofuse.modalities import Modality
from eofuse.progress import Progress


class TableSamples(Samples):
    """A table, indexed; see `Samples`.

    Its index has the columns of the table that are in no modality, and its fingerprint is a digest of the spec, the index, and names,
    sizes and times of the files.
    """

    def __init__(
        self,
        spec: TableSpec,
        modalities: Sequence[Modality],
        index: pd.DataFrame,
        series: Mapping[str, npt.NDArray[np.float32]],
        rasters: RowRasters | None,
    ) -> None:
        self.name = spec.name
        self.simulated = spec.simulated
        self.modalities = tuple(modalities)
        self.patch_size = rasters.size if rasters else NO_PIXELS
        self.index = index
        self.fingerprint = ""
        self._series = {name: (values, index[f"has_{name}"].to_numpy(dtype=bool)) for name, values in series.items()}
        self._rasters = rasters

    def read(self, row: int) -> Arrays:
        """Rasters, series and image series of a row, by modality; see `Samples.read`."""
        found: Arrays = {}
        if self._rasters is not None:
            with reading_environment():
                found.update(self._rasters.read(row))
        found.update({name: values[row] for name, (values, present) in self._series.items() if present[row]})
        return found


def open_table_spec(
    path: Path,
    overrides: Sequence[str] = (),
    modalities: Sequence[str] | None = None,
    progress: Progress | None = None,
    workers: int = 1,
) -> TableSamples:
    """Indexes the table of a spec in a YAML file; see `open_table`.

    Args:
        path: the spec.
        overrides: `key.path=value` words, such as `root=../data`.
        modalities: names of those wanted, all by default.
        progress: receives how many rows have been looked at.
        workers: processes that look at files.
    """
    values = apply_overrides(read_yaml(path), overrides)
    require_kind(path, values, "table")
    spec = parse_options(TableSpec, values, path)
    if not spec.modalities:
        fix = "say which columns or files hold its data: modalities: {NAME: {kind: vector, columns: [...]}}"
        raise UsageError("names no modality, so there is nothing to learn from", where=path, fix=fix)
    if modalities is not None:
        if spec.reference is not None and spec.reference not in modalities:
            fix = "name it too, or change `reference` in the spec"
            what = f"the reference '{spec.reference}' is not among the modalities wanted"
            raise UsageError(what, where=path, fix=fix)
        for name in modalities:
            if name not in spec.modalities:
                raise UsageError(f"unknown modality '{name}'", where=path, fix=did_you_mean(name, spec.modalities))
        kept = {name: modality for name, modality in spec.modalities.items() if name in modalities}
        spec = spec.model_copy(update={"modalities": kept})
    return open_table(spec, path.parent, progress, workers)


def open_table(spec: TableSpec, folder: Path, progress: Progress | None = None, workers: int = 1) -> TableSamples:
    """Reads a table, checks its columns and looks at the header of every file.

    Args:
        spec: what its columns are.
        folder: folder of the spec.
        progress: receives how many rows have been looked at.
        workers: processes that look at files; the result does not depend on it.

    Raises:
        UsageError: if the spec contradicts itself or the data.
        DataError: if the table can't be read, a column is missing, or two rows have one id.
    """
    root = folder / spec.root
    if not root.is_dir():
        raise UsageError("there is no such folder", where=root, fix="correct `root` in the spec")
    path = root / spec.table
    table = parse_columns(read_table_file(path, spec.text_columns(), spec.decimal), spec.parse, path)
    rows = Rows(table, path, row_ids(spec, table, path))
    index = facts(spec, rows)
    with reading_environment():
        rasters = RowRasters(spec, root, rows) if spec.raster_names else None
    found = Survey()
    if rasters is not None:
        found = survey(rasters, rows.ids, rows.bad_ids(), workers, progress)
        _place(found, rasters, index, rows)
    values = {
        name: read_values(name, each, rows) if each.files is None else read_array_values(name, spec, rows, root)
        for name, each in spec.modalities.items()
        if not each.has_pixels
    }
    _require_unknown_labels(spec, values)
    described = {name: each.modality for name, each in values.items()} | (rasters.modalities if rasters else {})
    modalities = [described[name] for name in spec.modalities]
    scenes = fill_scenes(spec, index, rows)
    present = {name: each.present for name, each in values.items()}
    if rasters is not None:
        present.update({name: np.array([paths is not None for paths in each]) for name, each in rasters.paths.items()})
    for modality in modalities:
        if not present[modality.name].any():
            errors = [str(problem) for problem in rows.problems if problem.severity == "error"]
            why = f" ({len(errors)} problems, the first: {errors[0].removeprefix('error: ')})" if errors else ""
            fix = "check its columns, or take it out"
            raise DataError(f"no row has this modality{why}", where=modality.name, fix=fix)
        index[f"has_{modality.name}"] = present[modality.name]
        if rasters is not None and modality.name in rasters.times:
            index[times_column(modality.name)] = rasters.times[modality.name]
    index = pd.concat([index, *(each.index for each in values.values())], axis=1)
    fact_columns = (spec.id, *(spec.column_of(key) for key in INDEX_KEYS))
    used = {column for each in values.values() for column in each.columns} | {*filter(None, fact_columns)}
    index = pd.concat([index, other_columns(spec, rows, used, set(index.columns))], axis=1)
    source = TableSamples(
        spec, modalities, index, {n: v.series for n, v in values.items() if v.series is not None}, rasters
    )
    rows.warn_of_suspects()
    source.problems = errors_first(rows.problems)
    source.provenance = Provenance(
        "table",
        {name: spec.label(name).kind for name in spec.labels},
        {
            "spec": spec.model_dump(mode="json", exclude={"root"}, exclude_defaults=True),
            "scenes": scenes,
            "warped": {name: methods.total() for name, methods in found.resampled.items()},
            "resampling": {name: dict(sorted(methods.items())) for name, methods in found.resampled.items()},
            "warnings": [str(problem) for problem in source.problems if problem.severity == "warning"],
        },
    )
    source.fingerprint = _fingerprint(source, rasters, sorted(found.sidecars), root)
    return source


def _require_unknown_labels(spec: TableSpec, values: Mapping[str, Values]) -> None:
    """Raises a `UsageError` if a model could read a label among its inputs."""
    for name, each in values.items():
        for column in each.columns:
            if column in spec.labels:
                what = f"holds '{column}', which is a label: a model would read the answer"
                raise UsageError(what, where=f"modalities.{name}", fix="leave it out here, or under `labels`")


def _place(found: Survey, rasters: RowRasters, index: pd.DataFrame, rows: Rows) -> None:
    """Fills in grid and place of every row that has a raster, and adds to the problems what its files say."""
    rows.problems += found.problems
    values = {name: found.values.get(name, Counter()) for name in rasters.modalities}
    mixed = (mixed_values(name, each) for name, each in values.items() if not rasters.modalities[name].is_categorical)
    rows.problems += [problem for problem in mixed if problem is not None]
    if found.other_pixels:
        what = f"{found.other_pixels} rows have pixels of another size than the first row, and keep them"
        rows.warn(what, "resample these files, or make a store of each size")
    set_grids(index, found.places())
    rows.problems += misplaced(index, rows.path.name)
    for key, column in zip(("lon", "lat"), centres(index).T, strict=True):
        index[key] = index[key].fillna(pd.Series(column))


def _fingerprint(source: TableSamples, rasters: RowRasters | None, sidecars: Sequence[str], root: Path) -> str:
    """Digest of spec, index, series, and names, sizes and times of the files; the same wherever the folder lies."""
    digest = hashlib.sha256(json.dumps(source.provenance.facts, sort_keys=True).encode())
    for name, column in source.index.items():
        hashable = column.map(repr) if column.dtype == object else column
        digest.update(str(name).encode())
        digest.update(pd.util.hash_pandas_object(hashable, index=False).to_numpy().tobytes())
    for values, _ in source._series.values():
        digest.update(np.ascontiguousarray(values).tobytes())
    base = os.path.abspath(root)  # noqa: PTH100 (as the paths were made)
    rows = (paths for found in (rasters.paths.values() if rasters else ()) for paths in found if paths is not None)
    every = list(itertools.chain(itertools.chain.from_iterable(rows), sidecars))
    state = file_states(every)
    for path in every:
        named = path if is_virtual(path) else os.path.relpath(path, base)
        digest.update(f"{named} {state[path]}\0".encode())
    return digest.hexdigest()
