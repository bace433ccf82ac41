"""Not written yet."""

from .cases import Case, Outcome, World, judge
from .commands import eofuse


def run(case: Case, world: World) -> Outcome:
    """One case."""
    return judge(eofuse(["describe", "nothing"], world.folder()))
