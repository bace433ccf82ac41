"""The chapters of the course are built alike, use public names only, and lead somewhere. `make docs` executes them."""

import ast
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import eofuse
from eofuse.cli.parser import make_parser

PROJECT = Path(__file__).parents[1]
CHAPTERS = sorted((PROJECT / "course").glob("*.py"))
SECTIONS = ["What you will learn", "What we saw", "Exercises", "What to read"]
BESIDE = {
    "IPython",
    "matplotlib",
    "numpy",
    "pandas",
    "pystac",
    "rasterio",
    "sklearn",
    "timm",
    "torch",
    "torchvision",
    "xarray",
}
LONGEST_CELL = 32


@dataclass
class Cell:
    marker: str
    text: str

    @property
    def is_markdown(self):
        return "[markdown]" in self.marker

    @property
    def is_bash(self):
        return 'language="bash"' in self.marker


def cells_of(chapter: Path) -> list[Cell]:
    """The cells of a percent script; the text of comment cells without its #."""
    _, *parts = re.split(r"^# %%(.*)$", chapter.read_text(encoding="utf-8"), flags=re.MULTILINE)
    cells = [Cell(marker, text.strip()) for marker, text in zip(parts[::2], parts[1::2], strict=True)]
    for cell in cells:
        if cell.is_markdown or cell.is_bash:
            cell.text = re.sub(r"^# ?", "", cell.text, flags=re.MULTILINE)
    return cells


def python_of(chapter: Path) -> ast.Module:
    cells = cells_of(chapter)
    return ast.parse("\n".join(cell.text for cell in cells if not cell.is_markdown and not cell.is_bash))


each_chapter = pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda chapter: chapter.stem)


def test_chapters_are_numbered_without_a_gap():
    assert [int(chapter.stem[:2]) for chapter in CHAPTERS] == list(range(1, len(CHAPTERS) + 1))
    for chapter in CHAPTERS:
        assert cells_of(chapter)[0].text.startswith(f"# {int(chapter.stem[:2])}. ")


@each_chapter
def test_a_chapter_has_the_parts_of_all_chapters(chapter):
    text = "\n".join(cell.text for cell in cells_of(chapter) if cell.is_markdown)
    titles = re.findall(r"^## (.+)$", text, flags=re.MULTILINE)
    assert [title for title in titles if title in SECTIONS] == SECTIONS
    assert len(re.findall(r"^# ", text, flags=re.MULTILINE)) == 1


@each_chapter
def test_every_exercise_has_a_folded_solution(chapter):
    cells = cells_of(chapter)
    asked = [
        number for number, cell in enumerate(cells) if re.search(r"^### Exercise \d", cell.text, flags=re.MULTILINE)
    ]
    assert len(asked) >= 2
    assert [cells[number].text for number in asked if "hide-cell" not in cells[number + 1].marker] == []


@each_chapter
def test_cells_are_short(chapter):
    cells = [cell for cell in cells_of(chapter) if not cell.is_markdown]
    assert [cell.text for cell in cells if len(cell.text.splitlines()) > LONGEST_CELL] == []


@each_chapter
def test_a_chapter_imports_what_users_may(chapter):
    documented = "\n".join(page.read_text(encoding="utf-8") for page in PROJECT.glob("docs/*.*y*"))
    documented += "\n".join(page.read_text(encoding="utf-8") for page in PROJECT.glob("docs/*.md"))
    for node in ast.walk(python_of(chapter)):
        modules = {alias.name for alias in node.names} if isinstance(node, ast.Import) else set()
        if isinstance(node, ast.ImportFrom):
            modules = {node.module}
            for alias in node.names if node.module.startswith("eofuse") else ():
                shown = rf"from {node.module} import [\w, ]*\b{alias.name}\b|{node.module}\.{alias.name}\b"
                assert re.search(shown, documented), f"{node.module}.{alias.name} is in no page of the documentation"
        assert {module.split(".")[0] for module in modules} <= BESIDE | sys.stdlib_module_names | {"eofuse"}
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "eofuse":
            assert node.attr in eofuse.__all__


@each_chapter
def test_commands_of_a_chapter_are_valid(chapter):
    lines = [line for cell in cells_of(chapter) if cell.is_bash for line in cell.text.replace("\\\n", " ").splitlines()]
    for line in lines:
        if line.startswith("eofuse "):
            _, rest = make_parser().parse_known_args(shlex.split(line, comments=True)[1:])
            assert [word for word in rest if word.startswith("-") or "=" not in word] == [], line


@each_chapter
def test_links_of_a_chapter_lead_to_a_page_and_a_heading(chapter):
    text = "\n".join(cell.text for cell in cells_of(chapter) if cell.is_markdown)
    for path, heading in re.findall(r"\]\((?!\w+:)([\w./-]+)(?:#([\w-]+))?\)", text):
        page = chapter.parent / path
        assert page.exists(), path
        if page.suffix != ".md":
            continue
        titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
        anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
        assert not heading or heading in anchors, f"{path}#{heading}"
