"""The generated reference of the documentation has everything that can be named; without building the site."""

import importlib.util
from pathlib import Path

import pytest

import eofuse
from eofuse.cli.parser import make_parser
from eofuse.evaluation.metrics import METRICS
from eofuse.kinds import KINDS
from eofuse.learning.options import RunOptions
from eofuse.learning.pretraining import METHODS
from eofuse.models.encoders import ENCODERS
from eofuse.models.fusion import FUSIONS

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def reference():
    spec = importlib.util.spec_from_file_location("reference", DOCS / "reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_key_of_a_recipe_has_an_entry_and_a_meaning(reference):
    text = reference.recipe_keys()
    keys = [
        f"{section}.{key}" if options else section
        for section, field in RunOptions.model_fields.items()
        for options in [reference.section_of(field)]
        for key in (options.model_fields if options else [""])
    ]
    keys += [f"pretrain.{key}" for method in METHODS.values() for key in method.Options.model_fields]
    keys += ["study.variants", "study.search.learning_rates"]
    aliases = {"start.source": "start.from"}
    assert [key for key in keys if f"{{confval}} {aliases.get(key, key)}\n" not in text] == []


@pytest.mark.parametrize("page", ["recipe_keys", "spec_keys"])
def test_every_entry_says_what_its_key_means(reference, page):
    entries = reference.PAGES[page]().split("```{confval} ")[1:]
    assert [entry.split()[0] for entry in entries if not entry.split("\n\n")[1].split("```")[0].strip()] == []


def test_everything_that_a_recipe_can_name_is_listed(reference):
    text = reference.names()
    things = [*FUSIONS, *ENCODERS, *METHODS, *KINDS, *METRICS]
    assert [name for name in things if f"`{name}`\n: " not in text] == []


def test_every_command_and_option_is_listed(reference):
    text = reference.command_line()
    for name, command in reference.commands_of(make_parser()).items():
        section = text.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        own = [form for action in command._actions for form in action.option_strings]
        common = {"-h", "--help", "-q", "--quiet", "-v", "--verbose"}
        assert [form for form in own if form not in common and f"{form}" not in section] == []


def test_every_public_function_is_listed(reference):
    text = reference.python_interface()
    assert [name for name in eofuse.__all__ if f"eofuse.{name}" not in text] == []


def test_every_page_is_in_the_contents(reference):
    contents = (DOCS / "index.md").read_text(encoding="utf-8")
    pages = [page.stem for page in DOCS.glob("*.md") if page.stem != "index"]
    pages += [f"generated/{name}" for name in reference.PAGES]
    assert [page for page in pages if f"<{page}>" not in contents] == []
