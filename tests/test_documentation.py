"""The documentation is about the code as it is."""

import re
import shlex
from pathlib import Path

import pytest

from eofuse.cli.parser import make_parser
from eofuse.evaluation.metrics import metrics_of
from eofuse.kinds import KINDS
from eofuse.tasks import TASKS
from forked import forked

PROJECT = Path(__file__).parents[1]
PAGES = sorted([*PROJECT.glob("*.md"), *PROJECT.glob("docs/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_of_the_project_that_a_page_names_is_there(page):
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:[\w.]+/)*[\w]+\.(?:py|yaml|md))`", text)) | set(re.findall(r"\]\(([\w./]+)\)", text))
    ours = {name for name in named if "/" in name and not name.startswith(("studies/", "my-", "runs/", "generated/"))}
    roots = (PROJECT, PROJECT / "src", PROJECT / "src/eofuse", page.parent)
    assert [name for name in sorted(ours) if not any((root / name).exists() for root in roots)] == []


@pytest.mark.parametrize("page", sorted(PROJECT.glob("docs/*.md")), ids=lambda page: page.name)
def test_links_between_pages_lead_to_a_page_and_a_heading(page):
    links = re.findall(r"\]\((?!\w+:)([\w./-]*)(?:#([\w-]+))?\)", page.read_text(encoding="utf-8"))
    targets = [(page.parent / (path or page.name), heading) for path, heading in links]
    assert [path for path, _ in targets if "generated" not in path.parts and not path.exists()] == []
    assert [heading for path, heading in targets if heading and heading not in headings(path)] == []


@pytest.mark.parametrize("page", sorted(PROJECT.glob("docs/*.md")), ids=lambda page: page.name)
def test_commands_that_a_page_shows_are_valid(page):
    blocks = re.findall(r"```(?:bash)?\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("eofuse ")]
    for line in lines:
        _, rest = make_parser().parse_known_args(shlex.split(line, comments=True)[1:])
        assert [word for word in rest if word.startswith("-") or "=" not in word] == [], line


def headings(page: Path) -> set[str]:
    """Anchors of a page, as GitHub and the site make them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_map_of_the_house_names_every_room():
    text = (PROJECT / "docs/architecture.md").read_text(encoding="utf-8")
    drawn = text.split("```")[1]
    rooms = [path.name for path in (PROJECT / "src/eofuse").iterdir() if (path / "__init__.py").exists()]
    assert [room for room in rooms if f"{room}/" not in drawn] == []


def test_what_is_written_about_adding_things_runs():
    text = (PROJECT / "docs/extending.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    assert blocks
    code = compile("\n".join(blocks), "documentation", "exec")
    process = forked(exec, code, {"__name__": "__main__"})  # what it registers stays there
    process.join()
    assert process.exitcode == 0


@pytest.mark.parametrize("name", [name for name in KINDS if TASKS.package_of(name) == "eofuse"])
def test_losses_networks_and_metrics_of_every_kind_are_listed(name):
    kind, task = KINDS[name], TASKS[name]
    lines = (PROJECT / "docs/recipes.md").read_text(encoding="utf-8").splitlines()
    _, _, _, losses, networks, metrics, _ = next(line for line in lines if line.startswith(f"| {kind.words} |")).split(
        "|"
    )
    assert kind.is_boxes or re.findall(r"`(\w+)`", losses)[: len(task.losses)] == list(task.losses)
    assert re.findall(r"`(\w+)`", networks) == list(task.networks)
    assert re.findall(r"`(\w+)`", metrics) == [metric.name for metric in metrics_of(kind) if metric.is_main]
