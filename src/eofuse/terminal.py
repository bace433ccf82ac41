"""What the terminal shows: progress bars and tables."""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Protocol

import pandas as pd
from rich import box
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from eofuse.data.describe import Description
from eofuse.data.splits import Leakage
from eofuse.data.store import Store


class Report(Protocol):
    """Tells a progress bar how far the work is."""

    def __call__(self, done: int, total: int, words: str = "") -> None:
        """Shows `done` of `total`, and a few words."""
        ...


QUIET_SECONDS = 30
"""Time between lines of progress where there is no terminal."""


@cache
def console() -> Console:
    """The console for results."""
    return Console()


@contextmanager
def progress_bar(what: str, unit: str) -> Iterator[Report]:
    """A progress bar on the error stream, with the time that remains; where there is no terminal, a line every half minute."""
    count = DownloadColumn() if unit == "bytes" else MofNCompleteColumn()
    words_column = TextColumn("{task.fields[words]}", style="dim")
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        count,
        TextColumn(unit),
        TimeRemainingColumn(),
        words_column,
    )
    target = Console(stderr=True)
    with Progress(*columns, console=target, disable=not target.is_terminal, transient=True) as bar:
        task = bar.add_task(what, total=None, words="")
        told = time.monotonic()

        def report(done: int, total: int, words: str = "") -> None:
            nonlocal told
            bar.update(task, completed=done, total=total, words=words)
            if not target.is_terminal and time.monotonic() - told > QUIET_SECONDS:
                told = time.monotonic()
                print(f"{what}: {done} of {total} {unit} {words}".rstrip(), file=sys.stderr, flush=True)

        yield report


def description_tables(store: Store, description: Description) -> Iterator[Table | Text]:
    """A store's description, table by table."""
    mark = " · simulated data" if store.simulated else ""
    height, width = store.patch_size
    yield Text(f"{store.name}: {len(store)} patches of {height} × {width} pixels{mark}", style="bold")
    modalities = description.modalities.drop(columns="title")
    yield _table("Modalities", modalities.assign(share=modalities["share"].map("{:.0%}".format)))
    yield _table("Channels, in physical units", _channels(description.channels))
    classes = description.classes
    yield _table("Classes", classes.assign(share=classes["share"].map("{:.1%}".format)))
    scenes = description.scenes
    sizes = f"{scenes['smallest']} to {scenes['largest']} patches each, median {scenes['median']:g}"
    yield Text(f"{scenes['scenes']} scenes, {sizes}")
    parts = ", ".join(f"{count} {name}" for name, count in description.splits.items())
    yield Text(f"published split: {parts or 'none'}")
    yield _table("How leaky each split protocol is: test patches that", _leakage(description.leakage))


def transfer_table(summary: pd.DataFrame) -> Table:
    """What became of the tensors of a run that started from trained weights, by part of the model."""
    return _table("What the run started from", summary)


def _channels(channels: pd.DataFrame) -> pd.DataFrame:
    names = {"minimum": "min", "maximum": "max"}
    numbers = channels[["mean", "std", "minimum", "maximum"]].map("{:.4g}".format).rename(columns=names)
    return channels[["modality", "channel", "unit"]].join(numbers)


def _leakage(leakage: Mapping[str, Leakage]) -> pd.DataFrame:
    rows = []
    for protocol, found in leakage.items():
        counts = {"share a scene with training": found.sharing_scene, "lie next to training": found.adjacent}
        shown = {
            name: "unknown" if count is None else f"{count} of {found.test_patches} ({count / found.test_patches:.0%})"
            for name, count in counts.items()
        }
        rows.append({"split": protocol, **shown})
    return pd.DataFrame(rows)


def scores_tables(scores: pd.DataFrame) -> Iterator[Table]:
    """Scores with their intervals, a table a target."""
    for target, rows in scores[scores["value"].notna()].groupby("target", sort=False):
        patches, scenes = rows["n_test"].iloc[0], rows["n_scenes"].iloc[0]
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title_justify="left", caption_justify="left")
        table.title = f"{target}: {patches} test patches from {scenes} scenes"
        table.caption = "Intervals: bootstrap over test scenes."
        if {"coverage", "ece"} & set(rows["metric"]):
            table.caption += " ece: calibration error; coverage: of the 90 % predictive interval."
        for heading in ("predictor", "metric", "value", "95 % interval"):
            table.add_column(heading, justify="right" if heading == "value" else "left", no_wrap=True)
        for row in rows.to_dict("records"):
            interval = f"{row['low']:.3f} – {row['high']:.3f}"
            table.add_row(row["predictor"], row["metric"], f"{row['value']:.3f} {row['unit']}".rstrip(), interval)
        yield table


def _table(title: str, values: pd.DataFrame) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name, column in values.items():
        is_number = pd.api.types.is_numeric_dtype(column) or name in ("mean", "std", "min", "max", "share")
        table.add_column(str(name), justify="right" if is_number else "left", overflow="fold")
    for row in values.itertuples(index=False):
        table.add_row(*(Text(str(value)) for value in row))
    return table
