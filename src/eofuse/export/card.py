"""The model card of a run: one Markdown file that says what it predicts, from what, how well, and where not to trust it.

Its parts follow Mitchell et al. 2019 (arXiv:1810.03993). It repeats what the run recorded and what `evaluate` computes; what nobody
recorded is called so.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from eofuse import __version__
from eofuse.data.scenes import Scenes
from eofuse.errors import UsageError
from eofuse.files import sha256, write_text
from eofuse.learning.cautions import width_notes
from eofuse.learning.evaluate import evaluate
from eofuse.learning.facts import DATA_FILE, read_facts
from eofuse.learning.run import MODEL_FOLDER, Run, open_last
from eofuse.models.artifact import WEIGHTS
from eofuse.models.model import ModelSpec
from eofuse.reports.wording import MISSING, metric_words
from eofuse.words import printable

MARK = "<!-- model card by eofuse -->"
"""First line of every card."""

CARD_FILE = "README.md"
PREDICTORS = {"run": "this model", "constant": "always the same answer"}


def model_card(run: str | os.PathLike[str], output: str | os.PathLike[str] | None = None, licence: str = "") -> Path:
    """Writes the model card of a trained run, and returns its path.

    Args:
        run: its folder; the store it learned from must be where it was.
        output: the file, `README.md` in the folder by default; an older card is replaced.
        licence: of the model, not said by default.

    Raises:
        UsageError: if it is no run folder, or the file exists and is no card.
        DataError: if the run is not finished, or its store is not there or has changed.
    """
    folder = Path(run)
    path = folder / CARD_FILE if output is None else Path(output)
    if path.is_dir():
        raise UsageError("is a folder", where=path, fix="name a file in it")
    if path.exists() and not path.read_text(encoding="utf-8", errors="replace").startswith(MARK):
        raise UsageError("exists and is no model card", where=path, fix="name another file with -o")
    opened = open_last(folder)
    write_text(path, _card(opened, evaluate(folder), licence))
    return path


def _card(run: Run, scores: pd.DataFrame, licence: str) -> str:
    spec, data = run.model().spec, read_facts(run.folder, DATA_FILE)
    notes = [*run.notes(), *width_notes(scores)]
    parts = [
        MARK,
        f"# {_plain(run.options.name or run.folder.resolve().name)}",
        *(["> Learned from **simulated data**: it says nothing about the Earth."] if run.is_simulated else []),
        "## What it predicts",
        _table(("target", "what", "classes or numbers", "unit"), _targets(spec)),
        "## What it takes",
        f"Patches of {spec.patch_size[0]} × {spec.patch_size[1]} pixels, values as they are stored; it normalises them itself.",
        _table(("input", "layout", "bands", "stored as", "physical values"), _inputs(spec)),
        f"Fusion: {spec.fusion.strategy}; encoder of rasters: {_plain(spec.fusion.encoder)}; {run.result['parameters']:,} parameters.",
        "## Data",
        f"Store `{_plain(data['store'])}`, fingerprint `{data['fingerprint']}`; split by {run.options.split.protocol}.",
        _table(("part", "patches", "scenes"), _parts(data)),
        "## Scores on the test patches",
        "Intervals: 95 %, over test scenes.",
        _table(("target", "metric", "predictor", "value", "95 % interval", "patches", "from"), _scores(scores, spec)),
        "## Calibration",
        _list(_calibration(spec)),
        "## Limits",
        _list(notes or ["None of those for which eofuse looks was found."]),
        "## Licence and attribution",
        _list([f"{each.name}: {each.attribution}" for each in spec.modalities if each.attribution]),
        f"Licence of this model: {_plain(licence)}. Licences of the data are not recorded in the run."
        if licence
        else "Licences of the data and of this model are not recorded in the run: add them here.",
        *(
            [f"It started from the weights `{_plain(run.options.start.source)}`."]
            if run.options.start is not None
            else []
        ),
        "## How to load it",
        '```python\nimport eofuse\n\nrun = eofuse.open_run("RUN")  # the folder of the run\nprint(run.predict("STORE"))\n```',
        "Without eofuse: `eofuse export RUN model.onnx`.",
        f"Weights: sha256 `{sha256(run.folder / MODEL_FOLDER / WEIGHTS)}`; card by eofuse {__version__}.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _targets(spec: ModelSpec) -> Iterator[Sequence[str]]:
    for name, head in spec.heads.items():
        yield name, head.kind.words, ", ".join(head.classes), head.unit


def _inputs(spec: ModelSpec) -> Iterator[Sequence[str]]:
    for modality in spec.modalities:
        units = {channel.unit for channel in modality.channels if channel.unit}
        scaled = f"stored × {modality.scale:g}" if modality.scale != 1 else "as stored"
        physical = "codes" if modality.is_categorical else f"{scaled} + {modality.offset:g}".removesuffix(" + 0")
        unit = f" ({', '.join(sorted(units))})" if units else ""
        bands = ", ".join(modality.channel_names)
        yield modality.name, str(modality.kind).replace("_", " "), bands, modality.dtype, f"{physical}{unit}"


def _parts(data: dict[str, Any]) -> Iterator[Sequence[str]]:
    for part, count in data["patches"].items():
        scenes = data.get("known_scenes", {}).get(part)
        yield part, f"{count:,}", Scenes(**scenes).words if scenes else MISSING


def _scores(scores: pd.DataFrame, spec: ModelSpec) -> Iterator[Sequence[str]]:
    for row in scores[scores["value"].notna()].to_dict("records"):
        metric = metric_words(row["metric"], spec.heads[row["target"]].kind, row["unit"], row["value"])
        named = row["n_scenes"] - row["n_blocks"] - row["n_unknown"]
        found = Scenes(row["n_test"], named, row["n_blocks"], row["n_unknown"])
        interval = metric.interval(row["low"], row["high"])
        yield (
            row["target"],
            metric.title,
            PREDICTORS[row["predictor"]],
            metric.quantity(row["value"]),
            interval,
            f"{row['n_test']:,}",
            found.words,
        )


def _calibration(spec: ModelSpec) -> Iterator[str]:
    for name, head in spec.heads.items():
        if head.margin:
            widths = ", ".join(f"{each} ± {half:.3g}" for each, half in zip(head.classes, head.margin, strict=True))
            yield f"{name}: 90 % predictive interval {widths} {head.unit}".rstrip()
        elif head.kind.has_probabilities and head.temperature != 1:
            yield f"{name}: probabilities at the temperature {head.temperature:.3g}, fitted on the validation patches"
        else:
            yield f"{name}: as predicted, without calibration"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([_plain(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {_plain(line)}" for line in lines)


def _plain(text: str) -> str:
    """A text in which no name of a class or file is markup."""
    return printable(str(text)).replace("\n", " ").replace("<", "&lt;").replace("|", "\\|").replace("`", "'")
