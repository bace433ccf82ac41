"""The constant prediction: the same for every patch and pixel."""

from pathlib import Path

from eofuse.learning.controls.finish import Control, is_done
from eofuse.tasks.gathering import gather, predict_constant


def constant_control(folder: Path) -> None:
    """Fills a run folder with the constant prediction of each target."""
    if is_done(folder):
        return
    control = Control(folder, blind=True)
    prepared, options = control.prepared, control.options
    specs = {task.name: task.head() for task in prepared.tasks}
    rows = prepared.rows["test"]
    predict = predict_constant(prepared.tasks)
    control.finish(gather(predict, prepared.tasks, specs, prepared.loader(options), rows), 0)
