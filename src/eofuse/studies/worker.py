"""What a process of a study does with one cell."""

from pathlib import Path

from threadpoolctl import threadpool_limits

from eofuse.learning.controls import constant_control, frozen_random_control
from eofuse.learning.loop import CHECKPOINT_FILE
from eofuse.learning.run import read_options, test_run, train_run


def run_cell(role: str, folder: Path) -> None:
    """Runs a cell in its folder, or goes on with it; a search run never looks at the test patches."""
    with threadpool_limits(read_options(folder).train.threads):
        if role == "constant":
            constant_control(folder)
        elif role == "frozen_random":
            frozen_random_control(folder)
        else:
            train_run(folder, tensorboard=False)
            if role == "variant":
                test_run(folder)
            (folder / CHECKPOINT_FILE).unlink(missing_ok=True)
