"""A small ben-ge folder for the tests of its reader and its checker."""

import shutil
from pathlib import Path

import pytest

from fake_ben_ge import write_ben_ge


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    """Four patches, not to be changed."""
    folder = tmp_path_factory.mktemp("pristine") / "ben-ge-800"
    write_ben_ge(folder, patches=4)
    return folder


@pytest.fixture
def folder(tmp_path, pristine):
    """A copy that a test may spoil."""
    return Path(shutil.copytree(pristine, tmp_path / "ben-ge-800"))
