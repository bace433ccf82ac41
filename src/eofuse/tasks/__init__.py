"""What is learned: a target with its loss, its metrics and the way from a model's output to evidence.

A file a kind; `TASKS` names them.
"""

from eofuse.data.store import Store
from eofuse.data.targets import TargetOptions, make_target
from eofuse.errors import UsageError
from eofuse.tasks.base import Evidence, Task, TaskOptions
from eofuse.tasks.detection import Detection
from eofuse.tasks.multi_label import MultiLabel
from eofuse.tasks.pixel_regression import PixelRegression
from eofuse.tasks.regression import Regression
from eofuse.tasks.segmentation import Segmentation
from eofuse.tasks.single_label import SingleLabel

TASKS: dict[str, type[Task]] = {
    task.kind: task for task in (SingleLabel, MultiLabel, Regression, Segmentation, PixelRegression, Detection)
}

USED_BY = {
    "threshold": ("land_cover_above",),
    "classes": ("regions",),
    "smallest": ("regions",),
    "file": ("boxes",),
    "property": ("boxes",),
    "others": ("boxes",),
}
"""Options of a target → the targets that have them."""

__all__ = ["TASKS", "Evidence", "Task", "TaskOptions", "make_task"]


def make_task(store: Store, options: TaskOptions) -> Task:
    """The task of a recipe on a store.

    Raises:
        UsageError: if the target, the metric or another option is unknown, or does not belong to the target.
        DataError: if no patch has the target.
    """
    for option, targets in USED_BY.items():
        given = getattr(options, option) != TargetOptions.model_fields[option].default
        if given and options.target.partition(".")[0] not in targets:
            found = f"'{option}' is for {', '.join(targets)}, not for '{options.target}'"
            raise UsageError(found, where=f"task.{option}", fix="leave it out")
    target = make_target(store, options)
    if options.kind is not None and options.kind != target.kind:
        words = target.kind.replace("_", " ")
        raise UsageError(f"'{options.target}' is predicted by {words} only", where="task.kind", fix="leave it out")
    return TASKS[target.kind](target, options)
