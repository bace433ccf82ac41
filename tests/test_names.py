"""Names are data: no terminal, picture, page or path takes a name for a command."""

import base64
import io
from xml.etree import ElementTree

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from rich.table import Table
from rich.text import Text

from eofuse.cli import main
from eofuse.cli.output import say, show
from eofuse.files import LONGEST_NAME, file_name, folder_name
from eofuse.learning.missing import without_file
from eofuse.reports.figures.style import new_figure, styled, svg_data_uri, write_png
from eofuse.terminal import PlainConsole, progress_bar, scores_tables, without_progress
from eofuse.words import printable

NAMES = [
    "biomass [t/ha]",
    "[/red]",
    "[bold",
    "[link=http://x]a[/link]",
    "a $x$ b",
    "$\\frac{",
    ":smile:",
    "\x1b[31mred\x1b[0m",
    "\x9b31m",
    "a\u202eb",
    "\x00",
    "<b>&",
    "ä€😀",
]
"""Names that some library takes for more than a name."""


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_printed_as_it_is_or_written_out(name, capsys):
    console = PlainConsole()
    table = Table("patch", title=name, caption=name)
    table.add_column(name)
    table.add_row(name, Text(name))
    for part in (name, Text(name), table):
        console.print(part, soft_wrap=True)
    show(name)
    say(name)
    for printed in capsys.readouterr():
        assert printable(name) in printed
        assert not any(letter in printed for letter in "\x1b\x9b\x00\u202e")


def test_scores_of_a_target_with_a_unit_are_printed(capsys):
    row = {"target": "biomass [t/ha]", "predictor": "model [/]", "metric": "rmse", "value": 1.0, "unit": "[t/ha]"}
    row |= {"low": 0.5, "high": 1.5, "n_test": 1, "n_scenes": 1}
    console = PlainConsole()
    for table in scores_tables(pd.DataFrame([row])):
        console.print(table)
    printed = capsys.readouterr().out
    assert all(words in printed for words in ("biomass [t/ha]", "model [/]", "1.000 [t/ha]"))


@pytest.mark.parametrize("name", NAMES)
def test_progress_may_have_any_words(name, capsys, monkeypatch):
    monkeypatch.setattr("eofuse.terminal.SILENT_SECONDS", -1)
    with progress_bar(name, name) as report:
        report(1, 2, name)
    assert capsys.readouterr().err == f"{printable(name)}: 1 of 2 {printable(name)} {printable(name)}\n"


def test_progress_can_be_left_out(capsys, monkeypatch):
    monkeypatch.setattr("eofuse.terminal.SILENT_SECONDS", -1)
    with without_progress(), progress_bar("packing", "patches") as report:
        report(1, 2)
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_escape_codes_of_ours_alone(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    console = PlainConsole()
    console.file = io.StringIO()
    console.print(Text("\x1b]0;title\x07", style="red"))
    assert console.file.getvalue() == "\x1b[31m\\x1b]0;title\x1b[0m\n"


def test_an_argument_with_escape_codes_is_written_out(capsys):
    with pytest.raises(SystemExit):
        main(["describe", "a", "--\x1b[31m"])
    assert main(["describe", "\x1b[31m\n"]) == 2
    printed = capsys.readouterr().err
    assert "\x1b" not in printed
    assert "\\x1b[31m" in printed


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_may_have_any_title(name):
    figure = draw(name)
    head, _, content = svg_data_uri(figure).partition(",")
    assert head == "data:image/svg+xml;base64"
    drawn = "".join(ElementTree.fromstring(base64.b64decode(content)).itertext())
    assert "".join(letter for letter in name if letter not in "\x00\x1b") in drawn
    write_png(figure, io.BytesIO(), 30)


@styled
def draw(name: str) -> Figure:
    figure = new_figure(3, 2)
    axes = figure.add_subplot()
    axes.plot([1, 10], [1, 2], label=f"a{name}")
    axes.set_title(name)
    axes.set_xlabel(name)
    axes.set_yticks([1, 2], [name, name])
    figure.legend()
    return figure


@given(st.text())
def test_a_name_stays_below_its_folder(name):
    name = name.encode("utf-8", "replace").decode()
    for found in (file_name(name), folder_name(name)):
        assert 0 < len(found.encode()) <= LONGEST_NAME
        assert "/" not in found
        assert "\0" not in found
        assert found not in (".", "..")


def test_plain_names_of_folders_stay_as_they_are():
    assert [folder_name(name) for name in ("grün 2", "a.b", "../x", "..")] == ["grün 2", "a.b", "..%2Fx", "%2E%2E"]


def test_folders_of_many_missing_inputs_have_names_that_fit(tmp_path):
    found = without_file(tmp_path, frozenset(f"modality_{number:03d}" for number in range(60)), "x" * 300)
    found.parent.mkdir(parents=True)
    found.touch()
    assert without_file(tmp_path, frozenset({"s1", "s2"}), "y").parent.name == "s1+s2"
