"""Benchmarks use what is there."""

import runpy
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"
SCRIPTS = sorted(path for path in FOLDER.glob("*.py") if "__main__" in path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_every_name_that_a_benchmark_imports_exists(script, monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)  # as for a script that is run
    assert "main" in runpy.run_path(str(script), run_name="benchmark")
