"""What is learned: a target with its loss, its metrics and the way from a model's output to predictions.

A file a kind; `TASKS` names them.
"""

from eofuse.data.store import Store
from eofuse.data.targets import make_target
from eofuse.tasks.base import Task, TaskOptions
from eofuse.tasks.multi_label import MultiLabel
from eofuse.tasks.single_label import SingleLabel

TASKS: dict[str, type[Task]] = {"single_label": SingleLabel, "multi_label": MultiLabel}

__all__ = ["TASKS", "Task", "TaskOptions", "make_task"]


def make_task(store: Store, options: TaskOptions) -> Task:
    """The task of a recipe on a store.

    Raises:
        UsageError: if the target or the metric is unknown.
        DataError: if no patch has the target.
    """
    target = make_target(store, options.target, options.threshold)
    return TASKS[target.kind](target, options)
