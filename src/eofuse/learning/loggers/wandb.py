"""Weights & Biases: files in `wandb/`, for `wandb sync`, or its servers where `WANDB_MODE` says `online`."""

import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from eofuse.learning.loggers import LOGGERS, LoggedRun, RunLogger, Status

WAIT_S = 30
"""Time in which the servers must answer, where the user wants them."""


@LOGGERS.register("wandb")
class WandbLogger(RunLogger):
    """A run of the project `eofuse`, or that of `WANDB_PROJECT`; those of a study are a group."""

    library, extra = "wandb", "wandb"

    def __init__(self, run: LoggedRun, before: Mapping[str, str] | None) -> None:
        wandb: Any = import_module("wandb")
        quiet = {"console": "off", "silent": True, "init_timeout": WAIT_S, "login_timeout": WAIT_S}
        self.run: Any = wandb.init(
            project=None if "WANDB_PROJECT" in os.environ else "eofuse",
            name=run.name,
            group=run.study,
            id=(before or {}).get("run_id"),
            config={**run.options, "eofuse": dict(run.facts)},
            mode=None if "WANDB_MODE" in os.environ else "offline",
            resume="allow",
            reinit="create_new",
            settings=wandb.Settings(**quiet),
        )
        self.place = {"run_id": str(self.run.id)}

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Passes on numbers."""
        self.run.log(dict(values), step=step)

    def end(self, scores: Mapping[str, float], step: int) -> None:
        """Passes on scores: what the table of runs shows."""
        self.run.summary.update(dict(scores))

    def close(self, status: Status) -> None:
        """Leaves the run."""
        self.run.finish(exit_code=int(status in ("failed", "interrupted")))
