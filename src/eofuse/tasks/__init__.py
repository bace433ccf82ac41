"""What is learned: a target with its loss, its metrics and the way from a model's output to evidence.

A file a kind; `TASKS` names them.
"""

from dataclasses import replace

from eofuse.data.store import Store
from eofuse.data.targets import TargetOptions, make_target
from eofuse.errors import UsageError
from eofuse.kinds import KINDS
from eofuse.tasks.base import TASKS, Evidence, Task, TaskOptions

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
    if options.kind is not None:
        kind = KINDS[options.kind]
        if (kind.place, kind.values) != (target.kind.place, target.kind.values):
            found = f"'{options.target}' is predicted by {target.kind.title} only"
            raise UsageError(found, where="task.kind", fix="leave it out")
        target = replace(target, kind=kind)
    return TASKS[target.kind.name](target, options)
