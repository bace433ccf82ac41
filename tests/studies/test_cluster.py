"""Studies on Ray and Slurm: the bytes of a study of this machine, though workers die, and messages where something is missing."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from eofuse import __version__
from eofuse import recipe as recipes
from eofuse.cli import main
from eofuse.errors import UsageError
from eofuse.studies import executors, remote
from eofuse.studies.executors import read_resources
from eofuse.studies.results import read_results

TABLES = ("results", "leaderboard", "comparisons", "predictions/label", "curves", "per_class", "split")


def small(store):
    """A search, a run that is trained by it, and one that waits for it."""
    return {
        "name": "small",
        "data": {"store": str(store.path)},
        "inputs": ["s1"],
        "split": {"fractions": [0.5, 0.2, 0.3]},
        "task": {"target": "label"},
        "fusion": {"encoder": "test_resnet", "strategy": "single"},
        "train": {"steps": 8, "batch_size": 8, "evaluations": 2},
        "study": {
            "baseline": "radar",
            "seeds": [0, 1],
            "controls": False,
            "replicates": 100,
            "search": {"learning_rates": [0.003]},
            "variants": {"radar": {}},
        },
    }


@pytest.fixture(scope="module")
def here(planted_store, tmp_path_factory):
    """The study, done in this process."""
    return recipes.study(small(planted_store), to=tmp_path_factory.mktemp("here") / "study", workers=1).folder


def assert_same_bytes(folder, other):
    for name in TABLES:
        assert (folder / f"{name}.parquet").read_bytes() == (other / f"{name}.parquet").read_bytes(), name


def claimer(folder):
    """The process that has claimed a run of a study."""
    for file in (folder / "cells").glob(".*.claim"):
        with suppress(OSError, ValueError):
            return json.loads(file.read_text())["process"]
    return None


def submitted(folder):
    """The process that does a job of submitit in the folder of a study."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            words = (process / "cmdline").read_text().split("\0")
            if "submitit.core._submit" in words and str(folder / "jobs") in words:
                return int(process.name)
    return None


class Killer:
    """Kills one process, as soon as `find` gives it."""

    def __init__(self, find, folder):
        self.find, self.folder, self.killed = find, folder, []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self):
        while not self.over.wait(0.002):
            if (process := self.find(self.folder)) is not None:
                os.kill(process, signal.SIGKILL)
                self.killed.append(process)
                return

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.over.set()
        self.thread.join()


def test_a_study_on_ray_of_which_a_worker_is_killed_gives_the_same_bytes(here, planted_store, tmp_path, monkeypatch):
    monkeypatch.setenv(
        "RAY_worker_niceness", "0"
    )  # by default its workers let all other processes of the machine go first
    said = []
    with Killer(claimer, tmp_path / "study") as killer:
        study = recipes.study(
            small(planted_store),
            to=tmp_path / "study",
            on="ray",
            workers=1,
            progress=lambda done, total, words: said.append((done, total, words)),
        )
    assert len(killer.killed) == 1
    assert [words for _, _, words in said if "once more" in words] == [
        "radar, learning rate 0.003: its process ended (it was killed, or crashed); once more"
    ]
    assert said[-1][:2] == (3, 3)
    assert study.results.summary["failed"] == []
    assert_same_bytes(study.folder, here)
    assert not list(study.folder.glob("cells/.*"))


def test_slurm_goes_on_with_a_study_of_this_machine_to_the_same_bytes_though_a_job_is_killed(here, tmp_path, capsys):
    folder = shutil.copytree(here, tmp_path / "study")
    [cell] = read_results(folder).cells.query("role == 'final' and seed == 1")["cell"]
    shutil.rmtree(folder / "cells" / cell)
    (tmp_path / "recipe.yaml").write_text((folder / "study.yaml").read_text())
    words = ["study", str(tmp_path / "recipe.yaml"), "--to", str(folder), "--on", "slurm"]
    with Killer(submitted, folder) as killer:
        assert main([*words, "--resources", "cluster=local,hours=0.1"]) == 0
    assert len(killer.killed) == 1
    assert_same_bytes(folder, here)
    assert not list(folder.glob("cells/.*"))
    assert list((folder / "jobs").glob("*.out"))  # of the job that was killed


@pytest.mark.parametrize(
    ("on", "resources", "found"),
    [
        ("rya", None, "no place for studies 'rya'; did you mean 'ray'"),
        ("local", "gpus=1", "gpus: unknown key"),
        ("ray", "gpu=1", "gpu: unknown key; did you mean 'gpus'"),
        ("slurm", "hours", "'hours' is no key with a value; write key=value,key=value, or name a .yaml file"),
        ("slurm", {"hours": -1}, "hours"),
    ],
)
def test_what_can_not_be_asked_is_named(on, resources, found):
    with pytest.raises(UsageError) as error:
        read_resources(on, resources)
    assert found in str(error.value)


@pytest.mark.parametrize(("on", "library"), [("ray", "ray"), ("slurm", "submitit")])
def test_a_missing_library_is_named_with_what_installs_it(on, library, monkeypatch):
    monkeypatch.setattr(executors, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=rf"need the package {library}; pip install 'eofuse\[{on}\]'$"):
        read_resources(on)


def test_resources_may_lie_in_a_file(tmp_path):
    (tmp_path / "gpu.yaml").write_text("partition: a100,v100\nhours: 12\n")
    found = read_resources("slurm", str(tmp_path / "gpu.yaml"))
    assert (found.partition, found.hours, found.cluster) == ("a100,v100", 12.0, "slurm")


def test_a_machine_without_slurm_says_so(here, planted_store, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match=r"this machine has no Slurm; .* --resources cluster=local"):
        recipes.study(small(planted_store), to=shutil.copytree(here, tmp_path / "study"), on="slurm")


def test_an_address_where_no_ray_answers_is_an_error_at_once(here, planted_store, tmp_path):
    with pytest.raises(
        UsageError, match=r"127.0.0.1:1: no cluster of Ray answers: .*refused; start one by `ray start --head`"
    ):
        recipes.study(
            small(planted_store),
            to=shutil.copytree(here, tmp_path / "study"),
            on="ray",
            resources={"address": "127.0.0.1:1"},
        )


def test_a_machine_that_does_not_see_the_folder_or_has_another_eofuse_says_so():
    sent = {"folder": "/nowhere/study/cells/one", "study": "/nowhere/study", "version": __version__}
    assert "does not see the folder /nowhere/study/cells/one" in remote.do(sent)["answer"]["why"]
    assert "0.0.1 began the study" in remote.do({**sent, "version": "0.0.1"})["answer"]["ends"]["what"]


def test_a_job_whose_study_has_ended_leaves(tmp_path):
    sent = {"folder": str(tmp_path), "study": str(tmp_path), "token": "gone", "directory": ".", "version": __version__}
    assert remote.do(sent)["answer"] == {"kind": "ended", "why": "the study has ended"}


def test_a_job_of_slurm_hears_of_its_time_limit_before_anything_heavy_is_loaded():
    code = "import sys, eofuse.studies.remote; assert not {'torch', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
