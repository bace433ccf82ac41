"""What a process of a study does: `python -m eofuse.studies.worker` runs the cells that its standard input names.

A line in is a job, a line out its outcome, both JSON. When the input ends, because the study has ended or was killed, the process
ends at once: no cell is ever trained by two processes.
"""

import json
import os
import queue
import sys
import threading
import traceback
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from eofuse.data.store import shared_store
from eofuse.errors import DataError, EofuseError, explain
from eofuse.learning.annotation import write_order
from eofuse.learning.controls import (
    constant_control,
    frozen_random_control,
    gradient_boosting_control,
    per_pixel_control,
    random_forest_control,
)
from eofuse.learning.facts import note_divergence
from eofuse.learning.loop import CHECKPOINT_FILE, DivergenceError
from eofuse.learning.missing import test_without
from eofuse.learning.options import LearningOptions, RunOptions
from eofuse.learning.pretraining.options import PretrainingOptions
from eofuse.learning.pretraining.run import train_pretraining
from eofuse.learning.run import read_recipe, test_run, train_run
from eofuse.learning.transfer import forget_start
from eofuse.locks import writing
from eofuse.studies.claims import claimed
from eofuse.studies.failures import Failure
from eofuse.studies.missing import WITHOUT, taken_away
from eofuse.studies.picking import PICKING

PATIENCE_S = 60
"""Time that a process of a killed study has to end before another one takes its cell."""

CONTROLS = {
    "constant": constant_control,
    "frozen_random": frozen_random_control,
    "per_pixel": per_pixel_control,
    "random_forest": random_forest_control,
    "gradient_boosting": gradient_boosting_control,
}
"""What fills the run folder of a control, by role."""


class ChangedStoreError(DataError):
    """The store is not the one of the study, so that no run of it makes sense."""


def run_cell(role: str, folder: Path, fingerprint: str) -> None:
    """Runs a cell in its folder, or goes on with it; a search run never looks at the test patches.

    Raises:
        ChangedStoreError: if the store is not the one of the study.
    """
    options: LearningOptions = read_recipe(folder, PretrainingOptions if role == "pretraining" else RunOptions)
    if shared_store(options.data.store).fingerprint != fingerprint:
        what = "the store has changed since the study began"
        raise ChangedStoreError(what, where=options.data.store, fix="run the study again")
    claim = claimed(folder, PATIENCE_S, leave=partial(os._exit, 1))
    with writing(folder, PATIENCE_S), claim, threadpool_limits(options.train.thread_count):
        if role in CONTROLS:
            CONTROLS[role](folder)
        elif role == "pretraining":
            train_pretraining(folder, tensorboard=False)
        elif role.startswith(PICKING):
            write_order(folder, role.removeprefix(PICKING))
        elif role.startswith(WITHOUT):
            test_without(folder, taken_away(list(read_recipe(folder, RunOptions).inputs), role))
        elif role == "search":
            try:
                train_run(folder, tensorboard=False)
            except DivergenceError:
                note_divergence(folder)
            forget_start(folder)  # most are not gone on with; the one that is reads the weights again
        else:
            train_run(folder, tensorboard=False)
            test_run(folder)
        (folder / CHECKPOINT_FILE).unlink(missing_ok=True)


def main() -> None:
    """Does jobs until the input ends."""
    jobs: queue.SimpleQueue[str] = queue.SimpleQueue()

    def listen() -> None:
        for line in sys.stdin:
            jobs.put(line)
        os._exit(1)  # the study is gone

    threading.Thread(target=listen, daemon=True).start()
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # nothing else may write between the answers
    while True:
        job = json.loads(jobs.get())
        answers.write(json.dumps(answer(job)) + "\n")
        answers.flush()


def answer(job: dict[str, Any]) -> dict[str, Any]:
    """Nothing; or the failure of this cell alone, by `kind` and `why`; or the error that ends the study, as it is raised there."""
    try:
        run_cell(job["role"], Path(job["folder"]), job["fingerprint"])
    except ChangedStoreError as error:
        return {"ends": {"what": error.what, "where": error.where, "fix": error.fix}}
    except DivergenceError as error:
        return asdict(Failure("diverged", error.what))
    except EofuseError as error:
        return asdict(Failure("error", str(error)))
    except Exception as error:  # memory, a damaged library, a mistake of ours: the other cells can still be run
        found = explain(error)
        if type(found) is not EofuseError:
            return asdict(Failure("error", str(found)))
        traceback.print_exc()  # nobody expected it
        return asdict(Failure("error", found.what.splitlines()[0]))
    return {}


if __name__ == "__main__":
    main()
