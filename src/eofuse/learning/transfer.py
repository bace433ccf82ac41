"""Starting from trained weights: `StartOptions`, `start_from`, and the table of how every tensor was mapped.

A run that starts from weights keeps the started model in `start/` until it is finished: an interruption does not read the weights
again. `transfer.csv` stays, and so does the digest of the weights: with others at their place, the run does not go on.
"""

import shutil
from dataclasses import asdict
from functools import reduce
from hashlib import sha256 as sha256_of
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from eofuse.errors import DataError, UsageError
from eofuse.files import replacing, sha256
from eofuse.learning.lineage import History, recorded_history, unknown
from eofuse.models.artifact import WEIGHTS, load_model, read_history, save_model
from eofuse.models.encoders import Encoder
from eofuse.models.model import Model
from eofuse.models.pretrained import (
    Row,
    Source,
    WeightOptions,
    encoders_source,
    is_path,
    load_source,
    map_weights,
    random_rows,
    read_weights,
)
from eofuse.records import read_table

TRANSFER_FILE = "transfer.csv"
PATCHES_FILE = "patches.parquet"
"""In the folder of a pretraining: the patches that it saw."""

START_FOLDER = "start"

GIVEN = ("loaded", "mapped")
"""Statuses of tensors that weights gave."""

RANDOM = "random"
"""As a source: the weights with which the encoders begin count as trained ones."""


class StartOptions(WeightOptions):
    """From which weights a run starts, and how it goes on.

    Attributes:
        source: `from` in recipes: a run folder, a safetensors or `.pth` file, `timm:NAME` or `torchgeo:NAME`; or `random`: the
            encoders keep the weights with which they begin, as if they had been loaded, the control of these.
        also: further weights, of encoders to which those of `from` do not belong: as `from`, but no `random`.
        trunk: modality whose encoder gives all but the first layer where several could, see `map_weights`.
        mode: `full`: everything learns; `linear_probe` (the default where an encoder is a foundation model): what was loaded stays;
            `layer_decay`: the learning rate falls from layer to layer away from the heads; `unfreeze`: layers begin to learn one after
            another, from the heads; `lora`: what was loaded stays, but for a low-rank change of the attention layers' weights.
        decay: of the learning rate from a layer to the one before it, for `layer_decay`.
        unfrozen_at: share of the steps after which every layer learns, for `unfreeze`.
        rank: of the change, for `lora`.
        alpha: the change counts alpha / rank times, for `lora`.
    """

    source: str = Field(alias="from")
    also: list[str] = Field(default_factory=list)
    trunk: str | None = None
    mode: Literal["full", "linear_probe", "layer_decay", "unfreeze", "lora"] = "full"
    decay: float = Field(default=0.75, gt=0, le=1)
    unfrozen_at: float = Field(default=0.5, ge=0, le=1)
    rank: int = Field(default=8, ge=1)
    alpha: float = Field(default=8.0, gt=0)

    @model_validator(mode="after")
    def _random_is_all(self) -> "StartOptions":
        if self.also and RANDOM in (self.source, *self.also):
            raise ValueError("random weights are those of all encoders: leave out `also`")
        return self

    @model_serializer(mode="wrap")
    def _as_in_recipes(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values = handler(self)
        for name in ("non_commercial", "also"):  # recipes without them keep their identity
            if not values[name]:
                del values[name]
        return {"from" if name == "source" else name: value for name, value in values.items()}

    @property
    def is_random(self) -> bool:
        """Whether it starts from no weights."""
        return self.source == RANDOM

    def resolved(self) -> "StartOptions":
        """The same options with absolute paths."""
        paths = {"source": self.source if is_path(self.source) and not self.is_random else None, "file": self.file}
        changes: dict[str, Any] = {name: str(Path(path).resolve()) for name, path in paths.items() if path is not None}
        changes["also"] = [str(Path(each).resolve()) if is_path(each) else each for each in self.also]
        return self.model_copy(update=changes)

    def each(self) -> list["StartOptions"]:
        """The same options with one source each: those of `from`, and of each of `also`."""
        others = [
            {"source": each, "file": None, "bands": None, "mean": None, "std": None, "prefix": None}
            for each in self.also
        ]
        changes: list[dict[str, Any]] = [{}, *others]
        return [self.model_copy(update={**change, "also": []}) for change in changes]


def start_from(model: Model, options: StartOptions) -> pd.DataFrame:
    """Gives an untrained model trained weights, with the normalisation that belongs to them; the model is changed.

    Returns:
        A row a tensor: part, tensor, source, shape, status (`loaded`, `mapped`, `random`, `fresh`, `left over`), note.

    Raises:
        UsageError: if there are no such weights, nothing of them fits, or two give the same.
        DataError: if they can't be read, or are of another network.
    """
    rows: list[Row] = random_rows(model) if options.is_random else []
    for one in options.each() if not options.is_random else ():
        rows = _joined(rows, map_weights(model, _source(model, one), options.trunk), one.source)
    return pd.DataFrame([asdict(row) for row in rows], columns=list(Row.__dataclass_fields__))


def _joined(rows: list[Row], more: list[Row], source: str) -> list[Row]:
    """The rows of tensors that came from several weights, and what is left over of each.

    Raises:
        UsageError: if a tensor came twice.
    """
    taken = {row.tensor: row for row in more if row.status in GIVEN}
    twice = [row.tensor for row in rows if row.status in GIVEN and row.tensor in taken]
    if twice:
        what = f"gives {twice[0]} and {len(twice) - 1} more, which the weights before it gave"
        raise UsageError(what, where=source, fix="leave one out of start.from and start.also")
    if not rows:
        return more
    left_over = [row for row in more if row.status == "left over"]
    return [*(taken.get(row.tensor, row) if row.status == "fresh" else row for row in rows), *left_over]


def _source(model: Model, options: StartOptions) -> Source:
    """The weights; of a file, whose network has no name, those of the encoders that take them or the first network that it fits."""
    networks = list(dict.fromkeys(part.network for part in model.parts() if part.network))
    if is_path(options.source) and Path(options.source).is_file():
        encoders = [each for each in model.modules() if isinstance(each, Encoder)]
        if any(type(each).tensors_from is not Encoder.tensors_from for each in encoders):
            source = encoders_source(model, read_weights(Path(options.source)), options.source)
            if source is not None:
                return source
        if not networks:
            names = sorted({each.name for each in encoders})
            found = f"no encoder of the model takes weights of a file: {', '.join(names)}"
            fix = "start from a run, or add Encoder.tensors_from to the encoder (docs/extending.md)"
            raise UsageError(found, where=options.source, fix=fix)
    *others, last = networks or [model.spec.fusion.encoder]
    for network in others:
        try:
            return load_source(options.source, network, options)
        except DataError:
            continue
    return load_source(options.source, last, options)


def weights_file(options: StartOptions) -> Path | None:
    """The file of the weights; None if they have but a name, or are gone."""
    if options.is_random:
        return None
    if not is_path(options.source):
        file = Path(options.file) if options.file is not None else None
    else:
        source = Path(options.source)
        folders = (source / WEIGHTS, source / "model" / WEIGHTS)
        file = next((path for path in folders if path.is_file()), None) if source.is_dir() else source
    return file if file is not None and file.is_file() else None


def weights_digest(options: StartOptions) -> str | None:
    """SHA-256 of the file of the weights, of several files that of their digests; None if they have but a name, or are gone."""
    digests = [sha256(file) for one in options.each() if (file := weights_file(one)) is not None]
    if len(digests) < 2:
        return digests[0] if digests and not options.also else None
    return sha256_of(" ".join(digests).encode()).hexdigest()


def history_of(options: StartOptions, run: Path | None = None) -> History:
    """What the weights have learned from: as their file says, or the folder of the run that they are of.

    Args:
        options: from where a run starts.
        run: the folder of that run: what it started from when it was begun counts.
    """
    if options.is_random:
        return History()
    started = run / START_FOLDER / WEIGHTS if run is not None else None
    if started is not None and (text := read_history(started)):
        return History.from_text(text, options.source)
    first, *others = (_history_of(one) for one in options.each())
    return reduce(History.joined, others, first)


def _history_of(options: StartOptions) -> History:
    """What the weights of one source have learned from."""
    file = weights_file(options)
    if file is not None and (text := read_history(file)):
        return History.from_text(text, options.source)
    if file is None:
        return unknown(options.source)
    folder = file.parent.parent if file.parent.name == "model" else file.parent
    return recorded_history(folder) or unknown(options.source)


def refuse_changed_weights(options: StartOptions, began: str | None) -> None:
    """Raises a `DataError` if the weights of a run are there, and not those with which it began.

    Args:
        options: from where it starts.
        began: the digest then, None if it is not known.
    """
    if began is not None and weights_digest(options) not in (began, None):
        what = "the weights are not those with which this run began"
        raise DataError(what, where=options.source, fix="start a new run")


def start_once(model: Model, options: StartOptions, folder: Path) -> tuple[Model, pd.DataFrame]:
    """Like `start_from`, for a run folder: model and table of what the run started from when it was begun, after an interruption.

    Raises:
        UsageError: as `start_from`.
        DataError: as `start_from`, or if what it started from is damaged.
    """
    file = folder / TRANSFER_FILE
    if not (file.is_file() and (folder / START_FOLDER).is_dir()):
        table = start_from(model, options)
        model.history = history_of(options).to_text()
        save_model(model, folder / START_FOLDER)
        with replacing(file) as temporary:
            table.to_csv(temporary, index=False)
    return load_model(folder / START_FOLDER), read_transfer(folder)


def forget_start(folder: Path) -> None:
    """Removes the started model of a finished run; the table stays."""
    shutil.rmtree(folder / START_FOLDER, ignore_errors=True)


def read_transfer(folder: Path) -> pd.DataFrame:
    """The table of a run that started from trained weights, see `start_from`."""
    fix = "train the run anew"
    return read_table(folder / TRANSFER_FILE, fix, list(Row.__dataclass_fields__), empty_is_missing=False)


def summarise_transfer(table: pd.DataFrame) -> pd.DataFrame:
    """The table by part of the model: a row for each part and status, with its tensors, values and notes.

    Columns: part, status, tensors (their number), values, notes.
    """
    sides = table["shape"].astype(str).str.split("×")
    counted = table.assign(values=[pd.Series(side).astype(int).prod() for side in sides])
    counted["part"] = counted["part"].where(counted["status"] != "left over", "(the weights)")
    grouped = counted.groupby(["part", "status"], sort=False)
    return grouped.agg(
        tensors=("shape", "size"),
        values=("values", "sum"),
        notes=("note", lambda notes: "; ".join(dict.fromkeys(filter(None, notes)))),
    ).reset_index()
