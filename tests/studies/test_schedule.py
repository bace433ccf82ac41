"""The schedule of a study: what waits for what, what is tried again, and how near it comes to the best that there is."""

import sys
from pathlib import Path

import pytest

from eofuse.studies.executors import Ended, Executor, Job
from eofuse.studies.failures import Failure
from eofuse.studies.schedule import Step, carry_out
from eofuse.studies.steps import CellFolders, StudyWork

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))

from scheduling import MINUTE, Simulated, example, simulate, some_minutes


class Listing(Executor):
    """Does jobs in order; those of some folders fail as often as is said.

    Attributes:
        did: the jobs, in order.
    """

    def __init__(self, places=1, fails=None, kind="ended", cluster=False):
        self.places, self.fails, self.kind, self.is_cluster = places, fails or {}, kind, cluster
        self.did, self.waiting = [], []

    def submit(self, jobs):
        self.waiting += jobs
        assert len(self.waiting) <= self.places
        assert len({job.folder for job in self.waiting}) == len(self.waiting)

    def wait(self):
        job = self.waiting.pop(0)
        self.did.append(job)
        left = self.fails.get(job.folder.name, 0)
        self.fails[job.folder.name] = left - 1
        return [Ended(job, Failure(self.kind, "it failed") if left > 0 else None, "host 1")]

    def close(self):
        pass


class Noted(Step):
    """A step with one job, and what became of it."""

    def __init__(self, name, after=(), role="variant"):
        super().__init__(after)
        self.job, self.failure, self.tried_again = Job(role, Path(name)), "not done", 0

    def begin(self):
        return self.job

    def again(self, failure):
        self.tried_again += 1

    def end(self, failure):
        self.failure = failure


def names(executor):
    return [job.folder.name for job in executor.did]


def test_a_step_waits_for_those_that_it_needs_and_the_longest_chain_comes_first():
    alone, first = Noted("alone"), Noted("first")
    second = Noted("second", [first])
    third = Noted("third", [second, alone])
    executor = Listing()
    carry_out([alone, first, second, third], executor)
    assert names(executor) == ["first", "alone", "second", "third"]


@pytest.mark.parametrize(
    ("kind", "cluster", "times", "tries"),
    [
        ("ended", False, 1, 2),
        ("ended", True, 5, 2),
        ("error", False, 1, 1),
        ("error", True, 1, 2),
        ("diverged", True, 1, 1),
    ],
)
def test_what_may_succeed_elsewhere_is_tried_once_more_on_another_machine(kind, cluster, times, tries):
    step = Noted("unlucky")
    executor = Listing(fails={"unlucky": times}, kind=kind, cluster=cluster)
    carry_out([step, Noted("other")], executor)
    did = [job for job in executor.did if job.folder.name == "unlucky"]
    assert [job.avoid for job in did] == [None, "host 1"][:tries]
    assert step.tried_again == tries - 1
    assert (step.failure is None) == (times < tries)


def test_steps_that_want_the_same_share_it_and_those_of_one_folder_take_turns():
    same = [Noted("shared"), Noted("shared", role="random_twin")]
    executor = Listing(places=3)
    carry_out([*same, Noted("shared", role="search"), Noted("other")], executor)
    assert sorted((job.role, job.folder.name) for job in executor.did) == [
        ("search", "shared"),
        ("variant", "other"),
        ("variant", "shared"),
    ]
    assert all(step.failure is None for step in same)


def test_a_run_waits_for_its_own_pretraining_and_search_only(tmp_path):
    work = StudyWork(
        example(seeds=2, variants=2), CellFolders(tmp_path, "data", "store"), [], False, lambda: None, None
    )
    needs = {}
    for step in work.steps():
        role, cell = step.cell.role, step.cell
        needs.setdefault((role, getattr(cell, "variant", cell.name if role == "pretraining" else "")), []).append(
            [(each.cell.role, each.cell.options.seed) for each in step.after]
        )
    assert needs["pretraining", "similar"] == [[], []]
    assert needs["search", "scratch 0"][0] == []
    assert needs["search", "pretrained 0"][0] == [("pretraining", 0)]
    assert needs["variant", "scratch 0"][0] == [("search", 0)] * 4
    assert needs["variant", "pretrained 0"][-1] == [("pretraining", 1), *[("search", 0)] * 4]
    assert needs["constant", "constant"][0] == []


def test_a_study_on_many_workers_that_die_comes_near_the_bound():
    plan = example(amounts=(0.5, 1.0), seeds=6, variants=4)
    found = simulate(plan, lambda done: Simulated(6, some_minutes(), 0.05, MINUTE, 5, done))
    assert found.deaths > 0
    assert found.lost == 0
    assert 1 <= found.ratio < 1.1
