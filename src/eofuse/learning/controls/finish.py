"""What every control does first and last: prepare the data of a run folder, write its files."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from eofuse.data.store import open_store
from eofuse.evaluation.metrics import lower_is_better
from eofuse.learning.environment import describe_environment
from eofuse.learning.facts import ENVIRONMENT_FILE, RESULT_FILE, TEST_FILE, write_facts
from eofuse.learning.options import RunOptions
from eofuse.learning.outputs import write_test
from eofuse.learning.preparation import Prepared, prepare
from eofuse.learning.run import read_options
from eofuse.learning.split_table import write_split
from eofuse.tasks import Evidence


class Control:
    """A run folder that a control fills.

    Args:
        folder: with the recipe of the run that is controlled.
        blind: whether it does not look at the inputs.
    """

    def __init__(self, folder: Path, *, blind: bool = False) -> None:
        self.folder = folder
        self.started = time.perf_counter()
        self.options: RunOptions = read_options(folder)
        self.warnings: list[str] = []
        self.prepared: Prepared = prepare(open_store(self.options.data.store), self.options, blind=blind)

    def note(self, warning: str) -> None:
        """Keeps what a reader of the scores must know; once, however often it is said."""
        if warning not in self.warnings:
            self.warnings.append(warning)

    def finish(self, test: Mapping[str, Evidence], parameters: int) -> None:
        """Writes result and test files.

        Args:
            test: evidence of the test patches by target name.
            parameters: number of values that were learned.
        """
        result: dict[str, Any] = {
            "targets": [],
            "metric": "",
            "score": None,
            "steps": 0,
            "best_step": 0,
            "seconds": time.perf_counter() - self.started,
            "parameters": parameters,
            "warnings": self.warnings,
        }
        write_facts(self.folder, ENVIRONMENT_FILE, describe_environment())
        write_split(self.prepared.split_table(), self.folder)
        write_facts(self.folder, RESULT_FILE, result)
        write_test(self.folder, self.prepared, test)


def is_done(folder: Path) -> bool:
    """Whether a control has filled its folder."""
    return (folder / TEST_FILE).is_file()


def better(metric: str, score: float, best: float | None) -> bool:
    """Whether a score is better than the best one so far; no number is not."""
    if np.isnan(score):
        return False
    return best is None or (score < best if lower_is_better(metric) else score > best)
