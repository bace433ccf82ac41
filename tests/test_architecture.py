"""The house: one direction of imports, and no torch before it is needed."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "eofuse"

ALLOWED = {
    "errors": set(),
    "files": {"errors"},
    "limits": {"errors"},
    "processes": {"errors"},
    "locks": {"errors"},
    "words": set(),
    "modalities": {"errors"},
    "config": {"errors"},
    "data": {"modalities", "config", "errors", "files", "processes", "locks"},
    "evaluation": {"errors"},
    "models": {"modalities", "config", "errors", "files"},
    "tasks": {"models", "evaluation", "data", "modalities", "config", "errors", "files"},
    "learning": {"tasks", "models", "evaluation", "data", "modalities", "config", "errors", "files"},
    "studies": {
        "learning",
        "tasks",
        "models",
        "evaluation",
        "data",
        "modalities",
        "config",
        "errors",
        "files",
        "locks",
    },
    "reports": {"studies", "evaluation", "data", "modalities", "config", "errors", "files"},
    "inference": {"models", "data", "modalities", "config", "errors", "files"},
    "trained": {"studies", "reports", "inference", "learning", "evaluation", "data", "errors"},
    "recipe": {"trained", "studies", "learning", "data", "config", "errors", "files", "locks"},
    "suggestions": {"inference", "learning", "reports", "evaluation", "data", "errors", "files"},
    "terminal": {"studies", "reports", "data"},
    "cli": {
        "recipe",
        "trained",
        "suggestions",
        "terminal",
        "studies",
        "reports",
        "inference",
        "learning",
        "data",
        "errors",
    },
}
"""Room → rooms that it may use, besides itself; every room may use `words`, `limits` and the version in `eofuse`."""


def rooms_used(path: Path) -> set[str]:
    used = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        used |= {name.split(".")[1] for name in names if name.startswith("eofuse.")}
    return used


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_rooms_use_only_rooms_below(path):
    room = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    if room != "__init__":
        assert rooms_used(path) - {room, "words", "limits"} <= ALLOWED[room]


def test_neither_the_package_nor_help_loads_torch():
    code = (
        "import sys, eofuse, eofuse.cli\n"
        "try:\n    eofuse.cli.main(['--help'])\nexcept SystemExit:\n    pass\n"
        "assert not {'torch', 'numpy', 'pandas', 'rich'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_every_public_name_can_be_used():
    import eofuse

    for name in eofuse.__all__:
        assert getattr(eofuse, name)
