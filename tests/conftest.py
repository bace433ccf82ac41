"""Fixtures for all tests: the shared real data, one thread, no network."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

PROJECT = Path(__file__).parents[1]


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


@pytest.fixture(scope="session")
def ben_real_40(shared: Path) -> Path:
    """Forty real BigEarthNet pairs in the ben-ge folder layout."""
    return shared / "realdata" / "ben-real-40"
