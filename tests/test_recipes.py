"""Every recipe that ships runs."""

import re
from pathlib import Path

import pandas as pd
import pytest

import eofuse
from eofuse.config import read_yaml
from shrink import RECIPES, shrunk

README = Path(__file__).parents[1] / "README.md"
STORES = {
    "ben_real_40.yaml": "real_store",
    "terramesh_4.yaml": "scenes_store",
    "eurosat_100.yaml": "eurosat_store",
    "eurosat_labels.yaml": "eurosat_store",
    "eurosat_foundation.yaml": "foundation_store",
    "fuel_moisture.yaml": "fuel_store",
    "fuel_moisture_foundation.yaml": "fuel_store",
    "phenology.yaml": "season_store",
}

WEIGHTS = {
    "eurosat_foundation.yaml": "galileo_nano_encoder.safetensors",
    "fuel_moisture_foundation.yaml": "presto_default_model.safetensors",
}
"""Recipes that start from published weights."""

REPORTED = "ben_real_40.yaml"
"""The recipe whose report is written, without pictures."""


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    return eofuse.simulate(tmp_path_factory.mktemp("recipes") / "simulated", patches=60, workers=1, season=3)


@pytest.fixture(scope="module")
def simulated_store(simulated):
    return eofuse.pack(simulated, simulated.with_suffix(".store"), workers=1)


@pytest.fixture(scope="module")
def season_store(simulated):
    return eofuse.pack(simulated / "season.yaml", simulated.with_name("season.store"), workers=1)


@pytest.fixture(scope="module")
def real_store(ben_real_40, tmp_path_factory):
    return eofuse.pack(ben_real_40, tmp_path_factory.mktemp("recipes") / "ben-real-40.store", workers=1)


@pytest.fixture(scope="module")
def scenes_store(shared, tmp_path_factory):
    root = f"root={shared / 'realdata' / 'terramesh-4'}"
    folder = tmp_path_factory.mktemp("recipes") / "terramesh-4.store"
    return eofuse.cut(RECIPES / "scenes" / "terramesh_4.yaml", folder, size=64, overrides=[root], workers=1).store


@pytest.fixture(scope="module")
def fuel_store(shared, tmp_path_factory):
    """Every tenth site."""
    folder = tmp_path_factory.mktemp("recipes")
    table = pd.read_parquet(shared / "realdata" / "fuel-moisture" / "fuel_moisture.parquet")
    table[pd.factorize(table["site"])[0] % 10 == 0].to_parquet(folder / "fuel_moisture.parquet")
    spec = RECIPES / "tables" / "fuel_moisture.yaml"
    return eofuse.pack(spec, folder / "fuel-moisture.store", overrides=[f"root={folder}"], workers=1)


@pytest.fixture(scope="module")
def eurosat_store(shared, tmp_path_factory):
    root = f"root={shared / 'realdata' / 'eurosat-100'}"
    folder = tmp_path_factory.mktemp("recipes") / "eurosat-100.store"
    return eofuse.pack(RECIPES / "tables" / "eurosat_100.yaml", folder, overrides=[root], workers=1)


@pytest.fixture(scope="module")
def foundation_store(eurosat_store, shared):
    to = eurosat_store.path.with_name("eurosat-100-galileo.store")
    return eofuse.embed(eurosat_store.path, to, model="galileo:nano", weights=shared / "weights", month=7)


def names(section: str) -> list[str]:
    """Recipes of studies, pretrainings or runs, by the section that tells."""
    return sorted(path.name for path in RECIPES.glob("*.yaml") if section in read_yaml(path))


def named_in_readme() -> set[str]:
    """Recipes of the README's commands, which tests/test_readme.py runs."""
    return set(re.findall(r"^eofuse .*recipes/(\S+)", README.read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("name", sorted({*names("study")} - named_in_readme()))
def test_a_study_recipe_runs_to_its_report(name, request, monkeypatch, tmp_path):
    monkeypatch.setattr("eofuse.learning.controls.trees.TREES", 10)
    store = request.getfixturevalue(STORES.get(name, "simulated_store"))
    if name == REPORTED:
        request.getfixturevalue("written_reports")
    weights = [f"start.from={request.getfixturevalue('shared') / 'weights' / WEIGHTS[name]}"] if name in WEIGHTS else []
    study = eofuse.study(shrunk(name), store=store, to=tmp_path / "study", overrides=weights, workers=1)
    variants = set(read_yaml(RECIPES / name)["study"]["variants"])
    assert variants <= set(study.leaderboard()["variant"])
    report = (study.folder / "report.html").read_text(encoding="utf-8")
    if name == REPORTED:
        assert "Before you trust this" in report
        assert "prove nothing" in report  # of forty patches


@pytest.mark.parametrize("name", names("pretrain"))
def test_a_pretraining_recipe_runs(name, simulated_store, tmp_path):
    run = eofuse.pretrain(shrunk(name), store=simulated_store, to=tmp_path / "run")
    assert "knn_accuracy" in run.result["after"]


@pytest.mark.parametrize("name", sorted({*names("task"), *names("tasks")} - {*names("study")}))
def test_a_run_recipe_runs(name, simulated_store, tmp_path):
    assert eofuse.train(shrunk(name), store=simulated_store, to=tmp_path / "run").test


def test_the_tutorials_lab_is_whole():
    axes = read_yaml(RECIPES / "tutorial_fusion.yaml")["study"]
    strategies = [
        (tuple(v["inputs"]), v["fusion"]["strategy"], v["fusion"].get("weights")) for v in axes["variants"].values()
    ]
    assert strategies == [
        (("s2",), "single", None),
        (("s1", "s2"), "early", None),
        (("s1", "s2", "season"), "early", None),
        (("s1", "s2"), "late", "separate"),
        (("s1", "s2"), "late", "shared"),
    ]
