"""Fixtures for all tests: the shared real data, one thread, no network."""

import gc
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Lock
from types import SimpleNamespace

import pytest
from hypothesis import settings

from undrawn import undraw

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")
settings.register_profile("eofuse", deadline=None)  # a busy machine is no failure
settings.load_profile("eofuse")
gc.set_threshold(50_000, 10, 10)  # a tenth of the suite would go into looking for garbage among the objects of torch
os.register_at_fork(after_in_child=gc.freeze)  # what is left to collect may wait for a thread that a fork lacks

PROJECT = Path(__file__).parents[1]


@pytest.fixture(scope="session", autouse=True)
def _nobody_waits_for_the_disk() -> Iterator[None]:
    """No test outlives a loss of power."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data for tests; its absence is a failure in CI and a skip elsewhere."""
    folder = Path(os.environ.get("EOFUSE_SHARED", PROJECT.parent / "shared"))
    if not (folder / "realdata").is_dir():
        message = f"the real test data are not at {folder}; set EOFUSE_SHARED"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return folder


class InThisProcess:
    """Runs the cells of a study where the test runs: a process of their own would import everything for a few small runs."""

    one = Lock()  # random numbers of torch belong to the process

    def __init__(self, threads: int, card: str | None = None) -> None:
        self.card = card
        self.process = SimpleNamespace(kill=lambda: None, wait=lambda: None, stdin=None, stdout=None)

    has_ended = False

    def run(self, role: str, folder: Path, fingerprint: str):
        from eofuse.studies.executors import outcome
        from eofuse.studies.worker import answer

        with self.one:
            return outcome(answer({"role": role, "folder": str(folder), "fingerprint": fingerprint}))


@pytest.fixture(scope="session", autouse=True)
def cells_in_this_process() -> Iterator[pytest.MonkeyPatch]:
    """Studies run their cells here, one after the other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("eofuse.studies.executors.local.Worker", InThisProcess)
        yield patch


@pytest.fixture
def worker_processes(cells_in_this_process: pytest.MonkeyPatch) -> Iterator[None]:
    """Studies run their cells in processes, as they do for users."""
    cells_in_this_process.undo()
    yield
    cells_in_this_process.setattr("eofuse.studies.executors.local.Worker", InThisProcess)


def not_drawn(results, store, path: Path) -> Path:
    """Stands in for a report, which takes longer than a small study."""
    path.write_text("not drawn", encoding="utf-8")
    return path


@pytest.fixture(scope="session", autouse=True)
def _reports_not_drawn() -> Iterator[pytest.MonkeyPatch]:
    """Studies don't draw their reports."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("eofuse.trained.write_report", not_drawn)
        yield patch


@pytest.fixture
def drawn_reports(_reports_not_drawn: pytest.MonkeyPatch) -> Iterator[None]:
    """Studies draw their reports, as they do for users."""
    _reports_not_drawn.undo()
    yield
    _reports_not_drawn.setattr("eofuse.trained.write_report", not_drawn)


@pytest.fixture
def written_reports(drawn_reports: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Studies write their reports, without pictures."""
    undraw(monkeypatch)


@pytest.fixture(scope="session", autouse=True)
def _cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing is remembered beyond the tests, nor from before."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def plugin() -> Iterator[Path]:
    """`tests/plugin` as if it were installed, here and in processes that are started, for the tests of a module."""
    from eofuse.registry import Registry

    folder = PROJECT / "tests" / "plugin"
    registries = [each for each in gc.get_objects() if type(each) is Registry]
    things = [dict(registry) for registry in registries]  # complete without it
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")])))
        for registry, own in zip(registries, things, strict=True):
            patch.setattr(registry, "_things", own)
            patch.setattr(registry, "_homes", dict(registry._homes))
            patch.setattr(registry, "_is_complete", False)
        yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "example_plugin"]:
        del sys.modules[name]


@pytest.fixture(scope="session")
def ben_real_40(shared: Path) -> Path:
    """Forty real BigEarthNet pairs in the ben-ge folder layout."""
    return shared / "realdata" / "ben-real-40"


@pytest.fixture(scope="session")
def planted_store(tmp_path_factory: pytest.TempPathFactory):
    """120 patches of 16 pixels in 24 scenes; the column `label` is visible in Sentinel-1 only."""
    from eofuse.data.store.pack import pack_source
    from fake_source import PlantedSource

    return pack_source(PlantedSource(patches=120), tmp_path_factory.mktemp("planted") / "planted.store", workers=1)


def planted_recipe(store) -> dict:
    """A small run on the planted store."""
    return {
        "name": "planted",
        "data": {"store": str(store.path)},
        "inputs": ["s1"],
        "split": {"fractions": [0.5, 0.2, 0.3]},
        "task": {"target": "label"},
        "fusion": {"strategy": "single", "encoder": "test_resnet"},
        "train": {"steps": 30, "batch_size": 16, "evaluations": 5, "learning_rate": 0.003},
    }


@pytest.fixture
def recipe(planted_store) -> dict:
    """A small run on the planted store."""
    return planted_recipe(planted_store)


@pytest.fixture(scope="session")
def same_recipe(planted_store) -> dict:
    """The same for fixtures that last; leave it as it is."""
    return planted_recipe(planted_store)


@pytest.fixture(scope="session")
def refitted_once(planted_store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of that run with `refit`; leave it as it is."""
    from eofuse import recipe as recipes

    values = {**planted_recipe(planted_store), "refit": True}
    return recipes.train(values, to=tmp_path_factory.mktemp("refitted") / "run").folder


@pytest.fixture(scope="session")
def trained_once(planted_store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of that run, trained and tested; leave it as it is."""
    from eofuse import recipe as recipes

    return recipes.train(planted_recipe(planted_store), to=tmp_path_factory.mktemp("trained") / "run").folder


@pytest.fixture
def trained(trained_once: Path, tmp_path: Path):
    """That run in a folder of the test's own."""
    from eofuse.learning.run import open_run

    return open_run(shutil.copytree(trained_once, tmp_path / "run"))
