"""Studies on Ray and Slurm: the bytes of a study of this machine, though workers die, and messages where something is missing."""

import json
import os
import signal
import threading

import pytest

from eofuse import recipe as recipes

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


class Killer:
    """Kills the first process that claims a run of a study."""

    def __init__(self, folder):
        self.folder, self.killed = folder, []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self):
        while not self.over.wait(0.002):
            for file in (self.folder / "cells").glob(".*.claim"):
                try:
                    process = json.loads(file.read_text())["process"]
                except (OSError, ValueError):
                    continue
                os.kill(process, signal.SIGKILL)
                self.killed.append(process)
                return

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.over.set()
        self.thread.join()


def test_a_study_on_ray_of_which_a_worker_is_killed_gives_the_same_bytes(here, planted_store, tmp_path):
    said = []
    with Killer(tmp_path / "study") as killer:
        study = recipes.study(
            small(planted_store),
            to=tmp_path / "study",
            on="ray",
            workers=2,
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
