"""What the terminal shows: progress bars and tables."""

import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from eofuse.data.card.describe import Description
from eofuse.data.scenes import Scenes
from eofuse.data.sources import Provenance
from eofuse.data.splits import Leakage
from eofuse.data.store import Store
from eofuse.evaluation.metrics.calibration import ECE
from eofuse.evaluation.metrics.regression import COVERAGE
from eofuse.progress import Progress
from eofuse.reports import wording
from eofuse.reports.wording import MISSING
from eofuse.words import counted, printable

SILENT_SECONDS = 30
"""Time between lines of progress where there is no terminal."""


KINDS_OF_WORTH = {
    "shapley": "Shapley value",
    "drop_one": "taken away: lost",
    "permutation": "swapped among scenes: lost",
    "band": "band swapped among patches: lost",
}
"""Questions of an attribution, in words."""


class PlainConsole(Console):
    """A console that takes every text as it is: names are no markup, and their control characters are written out."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of a thing that is printed."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else printable(text), style, control)


@cache
def console() -> Console:
    """The console for results."""
    return PlainConsole()


_is_quiet: ContextVar[bool] = ContextVar("is_quiet", default=False)


@contextmanager
def without_progress() -> Iterator[None]:
    """Shows no progress while it lasts."""
    before = _is_quiet.set(True)
    try:
        yield
    finally:
        _is_quiet.reset(before)


@contextmanager
def progress_bar(what: str, unit: str) -> Iterator[Progress]:
    """A progress bar on the error stream, with the time that remains; where there is no terminal, a line every half minute."""
    count = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    words_column = TextColumn("{task.fields[words]}", style="dim", markup=False)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        count,
        TextColumn(unit, markup=False),
        TimeRemainingColumn(),
        words_column,
    )
    target = PlainConsole(stderr=True)
    with ProgressBar(
        *columns, console=target, disable=_is_quiet.get() or not target.is_terminal, transient=True
    ) as bar:
        task = bar.add_task(what, total=None, words="")
        shown = time.monotonic()

        def report(done: int, total: int, words: str = "") -> None:
            nonlocal shown
            bar.update(task, completed=done, total=total, words=words)
            if not _is_quiet.get() and not target.is_terminal and time.monotonic() - shown > SILENT_SECONDS:
                shown = time.monotonic()
                line = f"{what}: {done} of {total} {unit} {words}".rstrip()
                print(printable(line), file=sys.stderr, flush=True)

        yield report


def description_tables(store: Store, description: Description) -> Iterator[Table | Text]:
    """A store's description, table by table."""
    mark = " · simulated data" if store.simulated else ""
    height, width = store.patch_size
    size = f" of {height} × {width} pixels" if height else " without rasters"
    yield Text(f"{store.name}: {counted(len(store), 'patch', 'patches')}{size}{mark}", style="bold")
    for line in provenance_lines(store):
        yield Text(line)
    modalities = description.modalities.drop(columns="title")
    yield _table("Modalities", modalities.assign(share=modalities["share"].map("{:.0%}".format)))
    if len(description.channels):
        yield _table("Channels, in physical units", _channels(description.channels))
    classes = description.classes
    if len(classes):
        yield _table("Classes", classes.assign(share=classes["share"].map("{:.1%}".format)))
    scenes = description.scenes
    found = Scenes(len(store), *(int(scenes[name]) for name in ("scenes", "blocks", "unknown")))
    smallest, largest = scenes["smallest"], scenes["largest"]
    sizes = f"{smallest} to {largest} patches each, median {scenes['median']:g}"
    sizes = f"{counted(int(largest), 'patch', 'patches')} each" if smallest == largest else sizes
    yield Text(f"{found.words}, {sizes}" if found.scenes + found.blocks else found.words)
    if found.unknown:
        yield Text(f"note: {found.note}; a split by scene is a random one for them, as far as anyone knows")
    parts = ", ".join(f"{count} {name}" for name, count in description.splits.items())
    yield Text(f"published split: {parts or 'none'}")
    yield _table("How leaky each split protocol is: test patches that", _leakage(description.leakage))


def provenance_lines(store: Store) -> Iterator[str]:
    """What was done to the data of a table or of scenes when they were packed, and what their licences want said."""
    provenance = Provenance.of(store.provenance)
    yield from provenance.warped
    scenes = provenance.facts.get("scenes", "")
    if isinstance(scenes, str) and scenes and "itself" not in scenes:  # as older versions said
        yield f"scenes are {scenes}"
    for modality in store.modalities.values():
        if modality.attribution:
            yield f"{modality.name}: {modality.attribution}"


def transfer_table(summary: pd.DataFrame) -> Table:
    """What became of the tensors of a run that started from trained weights, by part of the model."""
    return _table("What the run started from", summary)


def _channels(channels: pd.DataFrame) -> pd.DataFrame:
    names = {"minimum": "min", "maximum": "max"}
    numbers = channels[["mean", "std", "minimum", "maximum"]].map("{:.4g}".format).rename(columns=names)
    table = channels[["modality", "channel", "unit"]].join(numbers)
    return table.assign(empty=channels["empty"]) if channels["empty"].any() else table


def _leakage(leakage: Mapping[str, Leakage]) -> pd.DataFrame:
    rows = []
    for protocol, found in leakage.items():
        counts = {
            "share a scene with training": found.sharing_scene,
            "cover its ground": found.same_ground,
            "lie next to it": found.adjacent,
        }
        shown = {
            name: "unknown" if count is None else f"{count} of {found.test_patches} ({count / found.test_patches:.0%})"
            for name, count in counts.items()
        }
        rows.append({"split": protocol, **shown})
    return pd.DataFrame(rows)


def _tested_scenes(rows: pd.DataFrame) -> Scenes:
    """The scenes of the test patches of a table of scores; tables made before have no counts of those that are not known."""
    patches, count = int(rows["n_test"].iloc[0]), int(rows["n_scenes"].iloc[0])
    blocks, unknown = (int(rows[name].iloc[0]) if name in rows else 0 for name in ("n_blocks", "n_unknown"))
    return Scenes(patches, count - blocks - unknown, blocks, unknown)


def scores_tables(scores: pd.DataFrame) -> Iterator[Table]:
    """Scores with their intervals, a table a target."""
    for target, rows in scores[scores["value"].notna()].groupby("target", sort=False):
        found = _tested_scenes(rows)
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title_justify="left", caption_justify="left")
        table.title = f"{target}: {counted(found.patches, 'test patch', 'test patches')} from {found.words}"
        table.caption = f"Intervals: 95 %, over test scenes{f' ({found.note})' if found.note else ''}."
        if {COVERAGE.name, ECE.name} & set(rows["metric"]):
            table.caption += f" {ECE.name}: {ECE.title}; {COVERAGE.name}: of the 90 % predictive interval."
        for heading in ("predictor", "metric", "value", "95 % interval"):
            table.add_column(heading, justify="right" if heading == "value" else "left", no_wrap=True)
        for row in rows.to_dict("records"):
            interval = (
                MISSING if pd.isna(row["low"]) or pd.isna(row["high"]) else f"{row['low']:.3f} – {row['high']:.3f}"
            )
            table.add_row(row["predictor"], row["metric"], f"{row['value']:.3f} {row['unit']}".rstrip(), interval)
        yield table


def attribution_tables(table: pd.DataFrame, targets: Mapping[str, Mapping[str, Any]]) -> Iterator[Table]:
    """What modalities, scalars and bands are worth, a table a target.

    Args:
        table: as `eofuse.learning.attribution` has it.
        targets: facts about each target.
    """
    for target, facts in targets.items():
        metric = facts["metric"]
        rows = table[(table["target"] == target) & (table["metric"] == metric)]
        found, unit = _tested_scenes(rows), rows["unit"].iloc[0]
        whole, constant = facts["whole"][metric], facts["constant"][metric]
        shown = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title_justify="left", caption_justify="left")
        shown.title = (
            f"{target}: {metric} {whole:.3f}, constant predictor {constant:.3f}{f' {unit}' if unit else ''}; "
            f"{counted(found.patches, 'test patch', 'test patches')} from {found.words}"
        )
        shown.caption = (
            "Positive: helps. Shapley values sum to what the model gains over the constant predictor. Intervals: over "
            "test scenes. Spread: of Shapley values the error from drawing orders, of permutations the deviation over draws."
        )
        for heading in ("what", "of"):  # where the line is too long, words are broken, never numbers
            shown.add_column(heading, overflow="fold")
        for heading in ("value", "95 % interval", "spread"):
            shown.add_column(heading, justify="left" if heading == "95 % interval" else "right", no_wrap=True)
        kinds = rows["kind"].tolist()
        for place, row in enumerate(rows.to_dict("records")):
            spread = "" if row["kind"] == "drop_one" or pd.isna(row["spread"]) else f"{row['spread']:.3f}"
            interval = wording.interval(row["low"], row["high"], "{:+.3f}".format)
            is_last = kinds[place + 1 : place + 2] != [row["kind"]]
            words = KINDS_OF_WORTH[row["kind"]]
            shown.add_row(words, Text(row["name"]), f"{row['value']:+.3f}", interval, spread, end_section=is_last)
        yield shown


def plain_table(title: str, values: pd.DataFrame) -> None:
    """Prints a table."""
    console().print(_table(title, values))


def _table(title: str, values: pd.DataFrame) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name, column in values.items():
        is_number = pd.api.types.is_numeric_dtype(column) or name in ("mean", "std", "min", "max", "share")
        table.add_column(str(name), justify="right" if is_number else "left", overflow="fold")
    for row in values.itertuples(index=False):
        table.add_row(*(Text(str(value)) for value in row))
    return table
