"""A small table of one's own that a test may spoil."""

import pytest

from table_folder import TableFolder


@pytest.fixture
def mine(tmp_path):
    return TableFolder(tmp_path)
