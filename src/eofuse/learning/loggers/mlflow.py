"""MLflow: a database in the working directory, or the server that `MLFLOW_TRACKING_URI` names."""

import json
import logging
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from eofuse.errors import UsageError
from eofuse.learning.loggers import LOGGERS, LoggedRun, RunLogger, Status

EXPERIMENT, TRACKING = "MLFLOW_EXPERIMENT_NAME", "MLFLOW_TRACKING_URI"
"""Variables of MLflow: an experiment in place of the group of a run, and where it is kept."""

IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2", "MLFLOW_HTTP_REQUEST_TIMEOUT": "20"}
"""A server that does not answer is waited for a minute, not ten; the user's own values count."""

MOST_AT_A_TIME, LONGEST_VALUE = 100, 500
"""Parameters of a call, and characters of one, that every server takes."""

STATES = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED", "unfinished": "RUNNING"}


@LOGGERS.register("mlflow")
class MLflowLogger(RunLogger):
    """A run of an experiment that has the name of the study, or `eofuse`."""

    library, extra = "mlflow", "mlflow"

    @classmethod
    def check(cls) -> None:
        """Raises a `UsageError` if MLflow is missing, or what it writes its own database with where it needs one."""
        super().check()
        if TRACKING not in os.environ and find_spec("sqlalchemy") is None:
            what = f"the package sqlalchemy, for MLflow's own database, is not installed, and {TRACKING} is not set"
            raise UsageError(what, where="train.loggers", fix="pip install 'eofuse[mlflow]'")

    def __init__(self, run: LoggedRun, before: Mapping[str, str] | None) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # nothing is sent but to the server of the user
        self.mlflow: Any = import_module("mlflow")
        self.entities: Any = import_module("mlflow.entities")
        for chatty in ("mlflow.store.db.utils", "alembic"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
        known = dict(before or {})
        with _impatiently():
            self.client = self.mlflow.MlflowClient(
                tracking_uri=None if TRACKING in os.environ else known.get("tracking_uri")
            )
            self.place = known if self._is_there(known) else self._begin(run)
            self.run_id = self.place["run_id"]
            self.client.update_run(self.run_id, status="RUNNING", name=run.name)

    def _is_there(self, place: Mapping[str, str]) -> bool:
        """Whether a logged run can be gone on with."""
        if not place:
            return False
        try:
            return bool(self.client.get_run(place["run_id"]).info.lifecycle_stage == "active")
        except self.mlflow.exceptions.MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            return False

    def _begin(self, run: LoggedRun) -> dict[str, str]:
        """Begins a logged run, and gives its place."""
        name = os.environ.get(EXPERIMENT) or run.group
        experiment = self.client.get_experiment_by_name(name)
        number = experiment.experiment_id if experiment is not None else self.client.create_experiment(name)
        run_id = str(self.client.create_run(number, run_name=run.name, tags=dict(run.facts)).info.run_id)
        flat = [self.entities.Param(name, value[:LONGEST_VALUE]) for name, value in _flat(run.options)]
        for start in range(0, len(flat), MOST_AT_A_TIME):
            self.client.log_batch(run_id, params=flat[start : start + MOST_AT_A_TIME])
        uri = str(self.client.tracking_uri)
        is_local = uri.partition(":")[0] in ("file", "sqlite")  # other addresses may hold passwords
        return {"run_id": run_id, **({"tracking_uri": uri} if is_local else {})}

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Passes on numbers."""
        now = int(time.time() * 1000)
        metrics = [self.entities.Metric(_allowed(name), value, now, step) for name, value in values.items()]
        with _impatiently():
            self.client.log_batch(self.run_id, metrics=metrics)

    def end(self, scores: Mapping[str, float], step: int) -> None:
        """Passes on scores."""
        self.log(scores, step)

    def close(self, status: Status) -> None:
        """Leaves the run."""
        with _impatiently():
            self.client.update_run(self.run_id, status=STATES[status])


def _flat(options: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Options by path, such as `train.steps`, as text."""
    for key, value in options.items():
        name = f"{path}{key}"
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{name}.")
        elif value is not None:
            yield _allowed(name), value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _allowed(name: str) -> str:
    """A name in those characters that MLflow takes; a slash stays where it parts a group from its numbers."""
    group, slash, rest = name.rpartition("/") if "/" not in name else name.partition("/")
    return f"{group}{slash}{re.sub(r'[^a-zA-Z0-9_. -]', '_', rest)}"[:250]


@contextmanager
def _impatiently() -> Iterator[None]:
    """Does not wait long for a server."""
    added = {name: value for name, value in IMPATIENT.items() if name not in os.environ}
    os.environ |= added
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)
