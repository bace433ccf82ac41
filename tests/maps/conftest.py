"""Scenes and saved models for the tests of maps."""

from pathlib import Path

import pytest
from maps_scenes import make_model, optical, write


@pytest.fixture(scope="session")
def cover_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Classes of pixels from two bands."""
    return make_model(tmp_path_factory.mktemp("cover") / "model", "cover")


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """A file of 70 × 90 pixels, whose upper left corner is missing."""
    values = optical(70, 90)
    values[:, :20, :30] = 0
    return write(tmp_path / "optical.tif", values, nodata=0, names=("red", "nir"))
