"""What stands in for a library whose version alone is asked for."""

import importlib
import sys
from importlib.metadata import version

import pytest

from eofuse.learning.fabric import _version_alone


def test_a_library_of_which_the_version_is_asked_is_not_imported_and_can_be_imported_later(monkeypatch):
    monkeypatch.delitem(sys.modules, "pyparsing", raising=False)
    with _version_alone("pyparsing"):
        stand_in = importlib.import_module("pyparsing")
        assert (stand_in.__version__, hasattr(stand_in, "Word")) == (version("pyparsing"), False)
    assert hasattr(importlib.import_module("pyparsing"), "Word")


@pytest.mark.parametrize("name", ["pytest", "no_such_library"])
def test_what_is_imported_or_not_there_stays_as_it_is(name):
    before = sys.modules.get(name)
    with _version_alone(name):
        assert sys.modules.get(name) is before
    assert sys.modules.get(name) is before
