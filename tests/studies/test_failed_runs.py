"""Runs that fail do not stop their study: the others are run, and the report says what failed and over what the means are."""

import json
from pathlib import Path

import pytest

from eofuse import recipe as recipes
from eofuse.cli import main
from eofuse.config import write_yaml
from eofuse.errors import DataError
from eofuse.forking import start
from eofuse.learning.environment import describe_environment
from eofuse.learning.facts import ENVIRONMENT_FILE
from eofuse.learning.loop import DivergenceError, TrainOptions
from eofuse.learning.run import read_options, train_run
from eofuse.reports.html import write_report
from eofuse.studies import worker
from eofuse.studies.executors import Job, Resources, Setting, local
from eofuse.studies.failures import failure_warnings
from eofuse.studies.results import read_results
from eofuse.studies.schedule import Step, carry_out
from undrawn import undraw


class Failing:
    """Training that fails for some runs.

    Attributes:
        fails: (name of the variant, seed) → what it raises.
        trained: what was trained, or tried to be.
    """

    def __init__(self):
        self.fails, self.trained = {}, []

    def train(self, folder: Path, **options):
        own = read_options(folder)
        key = "radar" if "s1" in own.inputs else "optical", own.seed
        self.trained.append(key)
        if key in self.fails:
            (folder / ENVIRONMENT_FILE).write_text(json.dumps(describe_environment()))
            raise self.fails[key]
        return train_run(folder, **options)


@pytest.fixture
def values(planted_store):
    return {
        "name": "failing",
        "data": {"store": str(planted_store.path)},
        "split": {"fractions": [0.5, 0.2, 0.3]},
        "task": {"target": "label"},
        "fusion": {"encoder": "test_resnet", "strategy": "single"},
        "train": {"steps": 4, "batch_size": 8, "evaluations": 2},
        "study": {
            "baseline": "optical",
            "seeds": [0, 1, 2],
            "replicates": 100,
            "search": {"learning_rates": [0.001]},
            "variants": {"optical": {"inputs": ["s2"]}, "radar": {"inputs": ["s1"]}},
        },
    }


@pytest.fixture
def failing(monkeypatch):
    found = Failing()
    monkeypatch.setattr(worker, "train_run", found.train)
    return found


def diverged():
    return DivergenceError("the training loss is nan at step 4")


def test_a_run_that_fails_leaves_the_others_and_is_named_in_the_report(values, failing, tmp_path, monkeypatch):
    undraw(monkeypatch)
    failing.fails = {("radar", 1): diverged(), ("optical", 2): MemoryError("no room")}
    study = recipes.study(values, to=tmp_path / "study", workers=1)
    board = study.results.leaderboard.drop_duplicates("variant").set_index("variant")
    assert board.loc[["optical", "radar", "constant", "radar (frozen random)"], "n_seeds"].tolist() == [2, 2, 3, 3]
    between = study.results.comparisons.query("variant == 'radar' and baseline == 'optical'")
    assert set(between["n_seeds"]) == {1}
    failed = {(entry["variant"], entry["seed"]): entry["kind"] for entry in study.results.summary["failed"]}
    assert failed == {("radar", 1): "diverged", ("optical", 2): "error"}
    assert "the memory is not enough; use smaller batches" in str(study.results.summary["failed"])
    [radar] = [warning for warning in study.results.summary["warnings"] if warning.startswith("radar: ")]
    assert "means over 2 of 3 seeds (seed 1: the training loss is nan at step 4)" in radar
    page = write_report(study.results, None, tmp_path / "report.html")
    assert "the training loss is nan at step 4" in page.read_text()

    failing.trained.clear()
    failing.fails = {}
    recipes.study(values, to=tmp_path / "study", workers=1)
    assert failing.trained == [("optical", 2)]  # the other would diverge again
    again = recipes.study(values, to=tmp_path / "study", workers=1, retry_failed=True)
    assert ("radar", 1) in failing.trained
    assert again.results.summary["failed"] == []
    assert set(again.results.leaderboard["n_seeds"]) == {3}
    assert not list(study.folder.glob("cells/*/failed.json"))


def test_a_variant_that_can_not_be_trained_has_no_score(values, failing, tmp_path, capsys):
    values["study"]["seeds"] = [0, 1]
    values["study"]["compare"] = {"Is radar better?": ["radar", "optical"]}
    failing.fails = {("radar", 0): diverged()}
    (tmp_path / "study.yaml").write_text(write_yaml(values))
    assert main(["study", str(tmp_path / "study.yaml"), "--to", str(tmp_path / "study"), "--workers", "1"]) == 1
    results = read_results(tmp_path / "study")
    assert "radar" not in set(results.leaderboard["variant"])
    assert "radar (frozen random)" in set(results.leaderboard["variant"])
    assert "radar: 2 runs failed, so it has no score" in capsys.readouterr().out
    assert failing.trained.count(("radar", 1)) == 0


def test_a_baseline_without_a_score_is_an_error_after_all_others_were_run(values, failing, tmp_path):
    values["study"] |= {"seeds": [0], "controls": False}
    failing.fails = {("optical", 0): diverged()}
    with pytest.raises(DataError, match=r"baseline has no score.*diverged at every learning rate"):
        recipes.study(values, to=tmp_path / "study", workers=1)
    values["study"]["baseline"] = "radar"
    failing.trained.clear()
    recipes.study(values, to=tmp_path / "study", workers=1)
    assert failing.trained == []


def test_seeds_without_all_their_folds_are_left_out(values, failing, tmp_path):
    values["study"] |= {
        "seeds": [0, 1],
        "folds": 2,
        "controls": False,
        "search": {"learning_rates": [0.001], "steps": 2},
    }
    del values["split"]
    calls = []

    def second_fold_of_seed_1(key):
        calls.append(key)
        return calls.count(("radar", 1)) == 2

    class Some(dict):
        def __contains__(self, key):
            return key == ("radar", 1) and second_fold_of_seed_1(key)

    failing.fails = Some({("radar", 1): diverged()})
    study = recipes.study(values, to=tmp_path / "study", workers=1)
    board = study.results.leaderboard.drop_duplicates("variant").set_index("variant")
    assert board["n_seeds"].to_dict() == {"optical": 2, "radar": 1}
    assert "seed 1, fold 1" in " ".join(study.results.summary["warnings"])


def test_means_and_failures_are_told_by_amount_of_labels():
    entry = {"variant": "a", "role": "variant", "labels": "0.1", "seed": 2, "fold": 0, "kind": "ended", "why": "killed"}
    assert failure_warnings([entry], [0, 1, 2], None) == [
        "a, labels 0.1: 1 run failed, so its scores are means over 2 of 3 seeds (seed 2: killed)."
    ]


def test_a_worker_that_is_killed_costs_only_its_own_run(worker_processes, monkeypatch, tmp_path):
    """A job kills its worker, and the one that tries it again; one does so the first time only."""
    code = (
        "import json, os, pathlib, signal, sys\n"
        "def main():\n"
        "    for line in sys.stdin:\n"
        "        job = json.loads(line)\n"
        "        seen = pathlib.Path(job['folder'])\n"
        "        if job['role'] == 'deadly' or job['role'] == 'unlucky' and not seen.exists():\n"
        "            seen.mkdir(exist_ok=True)\n"
        "            os.kill(os.getpid(), signal.SIGKILL)\n"
        "        print('{}', flush=True)\n"
    )
    (tmp_path / "deadly_worker.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(local, "start", lambda module, arguments, env: start("deadly_worker", arguments, env))
    steps = [Noted(Job(role, tmp_path / role)) for role in ("deadly", "unlucky", "harmless")]
    with local.Local(Setting(tmp_path, "fingerprint", [TrainOptions()], workers=1), Resources()) as executor:
        carry_out(steps, executor)
    deadly, unlucky, harmless = steps
    assert deadly.failure.kind == "ended"
    assert "killed" in deadly.failure.why
    assert (deadly.tries, unlucky.tries, harmless.tries) == (2, 2, 1)
    assert unlucky.failure is harmless.failure is None


class Noted(Step):
    """A job, and what becomes of it."""

    def __init__(self, job, after=()):
        super().__init__(after)
        self.job, self.tries, self.failure = job, 1, None

    def begin(self):
        return self.job

    def again(self, failure):
        self.tries += 1

    def end(self, failure):
        self.failure = failure
