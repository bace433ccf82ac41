"""How long a study takes on many workers, by simulation: the plan and the schedule of eofuse, with simulated workers and a clock.

    python benchmarks/scheduling.py                       # 1,000 runs on 100 workers, of which some die
    python benchmarks/scheduling.py STUDY --workers 1 2 8  # the runs of a finished study, with the seconds that they took

A worker that dies loses what its run did since its last checkpoint, and is away for a while; the run goes on on another one. The
bound is what no schedule can beat: all work, lost work included, spread evenly over the workers, or the longest chain of runs that
wait for each other, whichever is longer. `with stages` is what it would be, as a multiple of the bound, if the search waited for all
pretraining, and all that is tested for all of the search. Nobody knows how long a run takes before it is over, so a long one may end
last: with few runs a worker the ratio is higher.
"""

import argparse
import heapq
import json
import random
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

from eofuse.config import read_yaml
from eofuse.learning.facts import RESULT_FILE, TEST_FILE, UNTRAINED, write_facts
from eofuse.studies.executors import Ended, Executor, Job
from eofuse.studies.failures import Failure
from eofuse.studies.plan import StudyPlan, plan_study
from eofuse.studies.results import STUDY_FILE, read_results
from eofuse.studies.runner import COST_FILE
from eofuse.studies.schedule import Step, carry_out
from eofuse.studies.steps import CellFolders, StudyWork

MINUTE = 60.0

LOOKS = 10
"""Checkpoints of a run, from which it goes on when its worker has died."""

Duration = Callable[[Job], float]


class Simulated(Executor):
    """Workers of a simulated cluster.

    Args:
        workers: at a time.
        duration: seconds of a job.
        dies: chance that the worker dies at a job.
        away: seconds until such a worker is back.
        overhead: seconds that a job takes besides.
        done: called with each job that is done.

    Attributes:
        now: seconds since the start.
        busy: seconds of all workers.
        took: seconds of each job, the last time, by its key.
        deaths: workers that died.
    """

    is_cluster = True

    def __init__(
        self,
        workers: int,
        duration: Duration,
        dies: float = 0.0,
        away: float = 0.0,
        overhead: float = 0.0,
        done: Callable[[Job], None] = lambda job: None,
        seed: int = 0,
    ) -> None:
        self.places = workers
        self.duration, self.dies, self.away, self.overhead, self.done = duration, dies, away, overhead, done
        self.random = random.Random(seed)
        self.now = self.busy = 0.0
        self.deaths = self.submitted = 0
        self.free = [0.0] * workers
        self.running: list[tuple[float, int, Job, bool]] = []
        self.kept: dict[tuple[str, Path], float] = {}
        self.took: dict[tuple[str, Path], float] = {}

    def submit(self, jobs: Sequence[Job]) -> None:
        """Starts jobs on the workers that are free first."""
        for job in jobs:
            began = max(self.now, heapq.heappop(self.free))
            kept = self.kept.get(job.key, 0.0)
            takes, died = self.duration(job) * (1 - kept), self.random.random() < self.dies
            if died:
                share = self.random.random()
                takes *= share
                self.kept[job.key] = int((kept + share * (1 - kept)) * LOOKS) / LOOKS
                self.deaths += 1
            takes += self.overhead
            self.busy += takes
            self.took[job.key] = takes
            self.submitted += 1
            heapq.heappush(self.running, (began + takes, self.submitted, job, died))
            heapq.heappush(self.free, began + takes + (self.away if died else 0.0))

    def wait(self) -> list[Ended]:
        """Turns the clock to the end of the next job."""
        self.now, _, job, died = heapq.heappop(self.running)
        if died:
            return [Ended(job, Failure("ended", "its worker died"), "a worker")]
        self.done(job)
        return [Ended(job, None)]

    def close(self) -> None:
        """Nothing runs."""


@dataclass(frozen=True)
class Outcome:
    """What a simulation came to, in seconds: the end of the last job, the bound, and the work of all workers."""

    makespan: float
    bound: float
    busy: float
    jobs: int
    deaths: int
    lost: int

    @property
    def ratio(self) -> float:
        """How much longer it took than the bound."""
        return self.makespan / self.bound


def example(amounts: Sequence[float] = (0.05, 0.2, 1.0), seeds: int = 24, variants: int = 10) -> StudyPlan:
    """A study of variants from scratch and from a pretraining, with every amount of labels, and their controls."""
    sources = {"scratch": {}, "pretrained": {"start": {"from": "pretraining:similar"}}}
    found = {
        f"{name} {number}": {**start, "train": {"weight_decay": 0.01 * (1 + number)}}
        for number in range(variants // 2)
        for name, start in sources.items()
    }
    return plan_study(
        {
            "name": "simulated",
            "data": {"store": "none.store"},
            "inputs": ["s1"],
            "task": {"target": "label"},
            "fusion": {"strategy": "single", "encoder": "resnet18"},
            "train": {"steps": 1000},
            "study": {
                "baseline": "scratch 0",
                "seeds": list(range(seeds)),
                "label_amounts": list(amounts),
                "search": {"learning_rates": [1e-4, 3e-4, 1e-3, 3e-3]},
                "pretraining": {"similar": {"pretrain": {"method": "simclr"}, "train": {"steps": 3000}}},
                "variants": found,
            },
        }
    )


def some_minutes(seed: int = 0, spread: float = 0.15) -> Duration:
    """Ten minutes a training, more or less, three times as many a pretraining, a quarter a control that is fitted."""
    factors = {"pretraining": 3.0, "search": 1.0, "variant": 1.0, "random_twin": 1.0}

    def duration(job: Job) -> float:
        if job.role == "variant" and (job.folder / RESULT_FILE).is_file():
            return 0.5 * MINUTE  # trained by the search; it is only tested
        factor = random.Random(f"{seed} {job.folder.name}").lognormvariate(0.0, spread)
        return 10 * MINUTE * factors.get(job.role, 0.25) * factor

    return duration


def as_measured(study: Path, workers: int) -> tuple[StudyPlan, Duration, float]:
    """The plan of a finished study, the mean seconds of its runs by role, and what a run takes besides.

    Args:
        study: its folder.
        workers: with which it was run, in one go.
    """
    cells = read_results(study).cells
    means = cells.groupby("role")["seconds"].mean().to_dict()
    seconds = json.loads((study / COST_FILE).read_text())["seconds"]

    def duration(job: Job) -> float:
        if job.role == "variant" and (job.folder / RESULT_FILE).is_file():
            return 0.0
        return means.get({"variant": "final"}.get(job.role, job.role), 0.0)

    plan = plan_study(read_yaml(study / STUDY_FILE))
    bare = simulate(plan, lambda done: Simulated(workers, duration, done=done))
    return plan, duration, max(0.0, (seconds * workers - bare.busy) / bare.jobs)


def simulate(plan: StudyPlan, make: Callable[[Callable[[Job], None]], Simulated], stages: bool = False) -> Outcome:
    """Does the steps of a study, whose jobs write what the next ones need, and nothing else.

    Args:
        plan: the study.
        make: the cluster, from what is called with each job that is done.
        stages: whether search waits for all pretraining, and all that is tested for all of the search.
    """

    def finish(job: Job) -> None:
        if job.role == "pretraining":
            (job.folder / RESULT_FILE).write_text("{}")
            return
        score = random.Random(job.folder.name).random()
        write_facts(job.folder, RESULT_FILE, {**UNTRAINED, "score": score})
        if job.role != "search":
            write_facts(job.folder, TEST_FILE, {})

    with tempfile.TemporaryDirectory() as root, patch("os.fsync"):
        work = StudyWork(plan, CellFolders(Path(root), "data", "store"), [], False, lambda: None, None)
        executor, graph = make(finish), work.steps()
        if stages:
            add_barriers(graph)
        carry_out(graph, executor)
        ends: dict[Step, float] = {}
        for step in graph:
            took = executor.took.get(Job(step.cell.role, step.folder).key, 0.0)  # type: ignore[attr-defined]
            ends[step] = took + max((ends[each] for each in step.after), default=0.0)
    bound = max(executor.busy / executor.places, *ends.values())
    return Outcome(executor.now, bound, executor.busy, executor.submitted, executor.deaths, len(work.failures))


def add_barriers(graph: Sequence[Step]) -> None:
    """Lets each stage of a study wait for all of the one before."""
    groups: dict[str, list[Step]] = {"pretraining": [], "search": [], "final": []}
    for step in graph:
        role = step.cell.role  # type: ignore[attr-defined]
        groups[role if role in groups else "final"].append(step)
    for before, behind in pairwise(groups.values()):
        for step in behind:
            step.after = list(dict.fromkeys([*step.after, *before]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", nargs="?", type=Path, help="a finished study, whose times are taken")
    parser.add_argument("--measured-with", type=int, default=1, metavar="N", help="workers that it was run with")
    parser.add_argument("--workers", type=int, nargs="+", default=[100])
    parser.add_argument("--dies", type=float, default=0.02, help="chance that a worker dies at a run")
    parser.add_argument(
        "--spread", type=float, default=0.15, help="of the runs' lengths, as standard deviation of logarithms"
    )
    parser.add_argument("--seeds", type=int, default=3, help="simulations of each")
    words = parser.parse_args()
    if words.study:
        plan, duration, overhead = as_measured(words.study, words.measured_with)
        print(f"{overhead:.1f} s a run besides training")
        for workers in words.workers:
            found = simulate(plan, lambda done, count=workers: Simulated(count, duration, overhead=overhead, done=done))
            print(f"{workers:4d} workers: {found.makespan:8.0f} s; {found.ratio:.2f} of the bound")
        return
    print("workers    runs  died  lost   hours   bound   ratio   with stages")
    for workers in words.workers:
        for seed in range(words.seeds):

            def make(done: Callable[[Job], None], count: int = workers, seed: int = seed) -> Simulated:
                return Simulated(count, some_minutes(seed, words.spread), words.dies, MINUTE, 0.2 * MINUTE, done, seed)

            found, staged = simulate(example(), make), simulate(example(), make, stages=True)
            print(
                f"{workers:7d} {found.jobs:7d} {found.deaths:5d} {found.lost:5d} {found.makespan / 3600:7.2f} "
                f"{found.bound / 3600:7.2f} {found.ratio:7.3f} {staged.makespan / found.bound:10.3f}"
            )


if __name__ == "__main__":
    main()
