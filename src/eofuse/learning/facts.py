"""The JSON files of the folder of a run or pretraining: which values each holds; `write_facts` writes and `read_facts` reads them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, model_validator

from eofuse.errors import DataError
from eofuse.files import write_text
from eofuse.records import SEAL, read_record, read_table, sealed

FIX = "delete it and resume the run"

DATA_FILE = "data.json"
ENVIRONMENT_FILE = "environment.json"
RESULT_FILE = "result.json"
TEST_FILE = "test.json"
CALIBRATION_FILE = "calibration.json"
LOGGED_FILE = "logged.json"


UNTRAINED: dict[str, Any] = {"targets": [], "metric": "", "score": None, "steps": 0, "best_step": 0}
"""Result of a run without a training that counts."""


class _Facts(BaseModel):
    """Values as they are, without conversion; more keys are allowed."""

    model_config = ConfigDict(strict=True, extra="ignore")


class _Data(_Facts):
    fingerprint: str
    simulated: bool
    patches: dict[str, int]
    excluded: dict[str, int]
    warnings: list[str]
    lacking: dict[str, int] = {}
    stored: int | None = None
    annotations: list[str] = []
    weights: str | None = None
    start: list[str] = []

    @model_validator(mode="after")
    def _has_training_patches(self) -> "_Data":
        if "train" not in self.patches:
            raise ValueError("names no training patches")
        return self


class _Target(_Facts):
    target: str
    kind: str
    metric: str
    unit: str
    classes: list[str]
    validation: dict[str, float | None]

    @model_validator(mode="after")
    def _has_its_metric(self) -> "_Target":
        if self.metric not in self.validation:
            raise ValueError(f"lacks the metric {self.metric}")
        return self


class _Result(_Facts):
    steps: int
    warnings: list[str] = []
    targets: list[_Target] = []
    metric: str = ""
    best_step: int = 0
    score: float | None = None


class _Nothing(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Temperature(_Facts):
    temperature: float
    fitted: float
    held_out_loss: float | None


class _Logged(_Facts):
    """What a logger has of a run: where, up to which step, and at which stage it was finished there, if it was."""

    place: dict[str, str]
    step: int
    stage: str


SHAPES: dict[str, Any] = {
    DATA_FILE: _Data,
    ENVIRONMENT_FILE: dict[str, Any],
    RESULT_FILE: _Result,
    TEST_FILE: dict[str, dict[str, float | None]],
    CALIBRATION_FILE: dict[str, _Temperature | _Nothing],
    LOGGED_FILE: dict[str, _Logged],
}


def read_facts(folder: Path, name: str) -> dict[str, Any]:
    """A JSON file of a run folder.

    Raises:
        DataError: if it is damaged.
    """
    values: dict[str, Any] = read_record(folder / name, SHAPES[name], FIX)
    return values


def write_facts(folder: Path, name: str, values: Mapping[str, Any]) -> None:
    """Writes a JSON file of a run folder, with its digest unless a target has the name of its key."""
    write_text(folder / name, json.dumps(values if SEAL in values else sealed(values), indent=1) + "\n")


def read_result(folder: Path) -> dict[str, Any]:
    """The result of a run, not of a pretraining.

    Raises:
        DataError: if it is damaged.
    """
    result = read_facts(folder, RESULT_FILE)
    needed = ["targets"] if result.get("diverged") else ["targets", "metric", "best_step"]
    missing = [key for key in needed if key not in result]
    if missing:
        raise DataError(f"is damaged: lacks {', '.join(missing)}", where=folder / RESULT_FILE, fix=FIX)
    return result


def note_divergence(folder: Path) -> None:
    """Finishes a run whose training diverged: it has no scores."""
    result = {**UNTRAINED, "budget": 0, "seconds": 0.0, "parameters": 0, "diverged": True}
    write_facts(folder, RESULT_FILE, result)


def check_records(folder: Path) -> None:
    """Reads the JSON files and tables of a run whose checksums are kept in them.

    Raises:
        DataError: if one is damaged.
    """
    fix = "restore it from a copy, or train the run again"
    for path in sorted(folder.iterdir()):
        if path.suffix == ".json":
            read_record(path, dict[str, Any], fix)
        elif path.suffix == ".parquet":
            read_table(path, fix)
