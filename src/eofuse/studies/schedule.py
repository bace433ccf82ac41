"""In which order the steps of a study are done: `carry_out`.

A step waits for those that it needs and for no others, so that no place stands empty while a stage comes to its end. Of the steps
that can be begun, the one with the longest chain of others behind it comes first (Hu, Parallel sequencing and assembly line problems,
Operations Research 9, 1961). A job whose process died is done once more, on another machine where there is one; on a cluster so
is one that raised an error, which may be that of its machine.
"""

import heapq
from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import replace
from pathlib import Path

from eofuse.studies.executors import Executor, Job
from eofuse.studies.failures import Failure

TRIES = 2
"""How often a job is done that does not fail for reasons of its own."""


class Step(ABC):
    """Something to do once others are over, whether they went well or not.

    Attributes:
        after: the steps for which it waits.
        weight: how long it takes, beside others.
    """

    weight: float = 1.0

    def __init__(self, after: Sequence["Step"] = ()) -> None:
        self.after = list(dict.fromkeys(after))

    @abstractmethod
    def begin(self) -> Job | None:
        """The job to be done now; nothing if there is none, which the step notes itself. It may be called again."""

    @abstractmethod
    def end(self, failure: Failure | None) -> None:
        """Notes that its job is over, and why it failed, if it did."""

    def again(self, failure: Failure) -> None:  # noqa: B027, optional
        """Notes that its job failed and is done once more."""


def carry_out(steps: Sequence[Step], executor: Executor) -> None:
    """Does steps, as soon as what each waits for is over; two that want the same job share it, two of one folder take turns.

    Args:
        steps: with all those that they wait for.
        executor: does their jobs.

    Raises:
        DataError: if no job can be done any more.
    """
    _Schedule(steps, executor).run()


class _Schedule:
    def __init__(self, steps: Sequence[Step], executor: Executor) -> None:
        self.executor = executor
        self.behind: dict[Step, list[Step]] = {step: [] for step in steps}
        for step in steps:
            for needed in step.after:
                self.behind[needed].append(step)
        self.missing = {step: len(step.after) for step in steps}
        self.place = {step: number for number, step in enumerate(steps)}
        self.urgency = self._urgency(steps)
        self.ready: list[tuple[float, int, Step]] = []
        for step in steps:
            if not step.after:
                self._make_ready(step)
        self.over: dict[Hashable, Failure | None] = {}
        self.at_work: dict[Path, tuple[Hashable, list[Step]]] = {}
        self.turns: dict[Path, list[Step]] = {}
        self.tries: dict[Hashable, int] = {}

    def run(self) -> None:
        """Does all steps."""
        while True:
            self._fill()
            if not self.at_work:
                break
            for ended in self.executor.wait():
                self._note(ended.job, ended.failure, ended.host)
        waiting = [step for step, count in self.missing.items() if count]
        assert not waiting, f"steps that wait for each other: {waiting}"

    def _fill(self) -> None:
        """Gives jobs to the executor as long as it has places for them."""
        jobs: list[Job] = []
        while self.ready and len(self.at_work) < self.executor.places:
            step = heapq.heappop(self.ready)[-1]
            job = step.begin()
            if job is None:
                self._pass(step)
                continue
            key = job.key
            if key in self.over:
                step.end(self.over[key])
                self._pass(step)
            elif job.folder not in self.at_work:
                self.at_work[job.folder] = key, [step]
                jobs.append(job)
            elif self.at_work[job.folder][0] == key:
                self.at_work[job.folder][1].append(step)
            else:
                self.turns.setdefault(job.folder, []).append(step)
        if jobs:
            self.executor.submit(jobs)

    def _note(self, job: Job, failure: Failure | None, host: str | None) -> None:
        key, steps = self.at_work[job.folder]
        if failure and self._may_succeed(failure) and self.tries.get(key, 1) < TRIES:
            self.tries[key] = self.tries.get(key, 1) + 1
            steps[0].again(failure)
            self.executor.submit([replace(job, avoid=host)])
            return
        del self.at_work[job.folder]
        self.over[key] = failure
        for step in steps:
            step.end(failure)
            self._pass(step)
        for step in self.turns.pop(job.folder, []):
            self._make_ready(step)

    def _may_succeed(self, failure: Failure) -> bool:
        return failure.kind == "ended" or (failure.kind == "error" and self.executor.is_cluster)

    def _pass(self, step: Step) -> None:
        """Lets the steps go on that waited for this one alone."""
        for waiting in self.behind[step]:
            self.missing[waiting] -= 1
            if self.missing[waiting] == 0:
                self._make_ready(waiting)

    def _make_ready(self, step: Step) -> None:
        heapq.heappush(self.ready, (-self.urgency[step], self.place[step], step))

    def _urgency(self, steps: Sequence[Step]) -> dict[Step, float]:
        """How long the longest chain is that begins with each step."""
        left = {step: len(self.behind[step]) for step in steps}
        last = [step for step in steps if left[step] == 0]
        found: dict[Step, float] = {}
        while last:
            step = last.pop()
            found[step] = step.weight + max((found[each] for each in self.behind[step]), default=0.0)
            for needed in step.after:
                left[needed] -= 1
                if left[needed] == 0:
                    last.append(needed)
        return found
