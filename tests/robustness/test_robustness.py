"""A few cases of every harness; `python -m tests.robustness` tries thousands."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

CASES = {"kills": 2, "writers": 1, "faults": 2, "fuzz": 8}
COMMANDS = "append,cut,subset,init"
"""Those whose inputs are made in a second or two; their kills, writers and faults stand for those of all."""


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, int]]:
    """Counts of outcomes by harness, of one process: that imports everything and forks."""
    file = tmp_path_factory.mktemp("robustness") / "counts.json"
    counts = ",".join(f"{name}={count}" for name, count in CASES.items())
    options = ["--seed", "2", "--counts", counts, "--commands", COMMANDS, "--json", str(file)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.robustness", *options],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
    )
    if not file.exists():
        raise AssertionError(done.stdout + done.stderr)
    return {**json.loads(file.read_text()), "output": done.stdout}


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc, pidfd and a subreaper")
@pytest.mark.parametrize("name", CASES)
def test_nothing_breaks(name, outcomes):
    good = sum(outcomes[name].get(kind, 0) for kind in ("clean", "accepted"))
    assert good == CASES[name], outcomes["output"]
