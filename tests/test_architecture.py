"""The house: one direction of imports, and no torch before it is needed."""

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "eofuse"

ALLOWED = {
    "__main__": {"cli"},
    "errors": set(),
    "files": {"errors"},
    "limits": {"errors"},
    "records": {"errors", "files"},
    "processes": {"errors"},
    "forking": set(),
    "locks": {"errors"},
    "cache": {"files"},
    "words": set(),
    "stac": set(),
    "registry": {"errors"},
    "kinds": {"errors"},
    "progress": set(),
    "devices": {"errors"},
    "ranks": {"errors"},
    "modalities": {"errors"},
    "config": {"errors"},
    "simulation": {"modalities", "errors", "locks", "processes"},
    "data": {"modalities", "config", "errors", "files", "records", "processes", "locks", "cache"},
    "evaluation": {"errors"},
    "models": {"modalities", "config", "errors", "files", "records"},
    "tasks": {"models", "evaluation", "data", "modalities", "config", "errors", "files"},
    "learning": {"tasks", "models", "evaluation", "data", "modalities", "config", "errors", "files", "records"},
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
        "records",
        "locks",
    },
    "reports": {"studies", "evaluation", "data", "modalities", "config", "errors", "files"},
    "areas": {"reports", "data", "modalities", "config", "errors", "files", "records", "locks"},
    "inference": {"tasks", "models", "data", "modalities", "config", "errors", "files", "locks"},
    "embedding": {"inference", "learning", "models", "data", "modalities", "errors", "files", "locks"},
    "maps": {"studies", "inference", "learning", "tasks", "models", "data", "modalities", "errors", "files", "locks"}
    | {"processes", "stac"},
    "export": {
        "stac",
        "reports",
        "studies",
        "inference",
        "learning",
        "models",
        "data",
        "modalities",
        "errors",
        "files",
        "locks",
    },
    "trained": {"studies", "reports", "inference", "learning", "evaluation", "data", "errors"},
    "recipe": {"trained", "studies", "learning", "data", "config", "errors", "files", "locks"},
    "suggestions": {"inference", "learning", "reports", "evaluation", "data", "errors", "files"},
    "pictures": {"learning", "studies", "reports", "evaluation", "data", "errors", "files"},
    "explorer": {
        "pictures",
        "reports",
        "studies",
        "embedding",
        "learning",
        "evaluation",
        "data",
        "modalities",
        "errors",
        "files",
    },
    "terminal": {"evaluation", "studies", "reports", "data"},
    "cli": {
        "models",
        "recipe",
        "trained",
        "suggestions",
        "pictures",
        "explorer",
        "terminal",
        "studies",
        "reports",
        "inference",
        "export",
        "embedding",
        "maps",
        "areas",
        "learning",
        "data",
        "simulation",
        "errors",
    },
}
"""Room → rooms that it may use, besides itself and those that every room may use (`EVERYWHERE`)."""

EVERYWHERE = {"words", "limits", "registry", "progress", "kinds", "devices", "ranks", "forking"}


@cache
def nodes(path: Path) -> list[ast.AST]:
    """All nodes of a file, parsed once for all tests."""
    return list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))


def rooms_used(path: Path) -> set[str]:
    used = set()
    for node in nodes(path):
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
        assert rooms_used(path) - EVERYWHERE - {room} <= ALLOWED[room]


def test_neither_the_package_nor_help_loads_torch():
    code = (
        "import sys, eofuse, eofuse.cli\n"
        "try:\n    eofuse.cli.main(['--help'])\nexcept SystemExit:\n    pass\n"
        "assert not {'torch', 'numpy', 'pandas', 'rich'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_a_file_of_more_than_400_lines_says_why():
    for path in SOURCE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= 400 or "long, as" in (ast.get_docstring(ast.parse(text)) or ""), path


def test_timm_is_imported_only_where_a_network_is_built():
    for path in (SOURCE / "models").rglob("*.py"):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [str(node.module)] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.partition(".")[0] == "timm" for name in names), path


def test_data_are_packed_checked_and_described_without_torch(tmp_path):
    code = (
        "import sys, numpy as np\n"
        "from eofuse.cli import main\n"
        "from eofuse.data.store.write import write_store\n"
        f"path = {str(tmp_path / 'a.store')!r}\n"
        "write_store(({'id': str(n), 'elevation': np.ones((1, 4, 4)), 'label': n % 2} for n in range(4)), ['elevation'], path,\n"
        "            name='a', labels={'label': 'class'})\n"
        "assert main(['check', path]) == main(['describe', path]) == 0\n"
        "import eofuse.data.store.pack, eofuse.data.store.cut, eofuse.data.specs.init\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_every_public_name_can_be_used():
    import eofuse

    for name in eofuse.__all__:
        assert getattr(eofuse, name)


def called(node: ast.Call) -> str:
    return ast.unparse(node.func)


EXECUTING = {"eval", "exec", "pd.read_pickle", "torch.hub.load", "yaml.unsafe_load", "yaml.full_load", "joblib.load"}
"""Calls that execute what a file says."""


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_nothing_that_is_loaded_executes_code(path):
    imported = {alias.name for node in nodes(path) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in nodes(path) if isinstance(node, ast.ImportFrom)}
    assert not imported & {"pickle", "joblib", "dill", "cloudpickle", "marshal", "shelve"}
    for node in nodes(path):
        if isinstance(node, ast.Call):
            options = {option.arg: ast.unparse(option.value) for option in node.keywords}
            assert called(node) not in EXECUTING
            if called(node) == "torch.load" or called(node).endswith("get_state_dict"):
                assert options.get("weights_only") == "True"
            if called(node) == "np.load":
                assert options.get("allow_pickle") == "False"
            if called(node) == "yaml.load":
                assert options.get("Loader") == "_Loader"


def test_libraries_that_once_executed_what_they_loaded_are_allowed_from_their_cure_on():
    project = tomllib.loads((SOURCE.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    floors = dict(re.findall(r"^([\w-]+)>=([\d.]+)", "\n".join(project["dependencies"]), re.MULTILINE))
    cured = {"torch": (2, 6), "timm": (1, 0, 31), "pyarrow": (14, 0, 1), "pyyaml": (5, 4)}
    for name, version in cured.items():
        assert tuple(map(int, floors[name].split("."))) >= version


def test_every_library_that_is_imported_is_one_that_installation_brings():
    project = tomllib.loads((SOURCE.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [
        each
        for name, extra in project["optional-dependencies"].items()
        if name not in ("dev", "docs")
        for each in extra
    ]
    declared = {re.match(r"[\w-]+", each)[0].lower() for each in [*project["dependencies"], *extras]}
    packages = packages_distributions()
    known = {"planetary_computer": ["planetary-computer"], "umap": ["umap-learn"]}  # not installed for development
    for path in SOURCE.rglob("*.py"):
        for node in nodes(path):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            for name in {each.partition(".")[0] for each in names} - sys.stdlib_module_names - {"eofuse"}:
                found = {each.lower().replace("_", "-") for each in known.get(name) or packages[name]}
                assert found & declared, (path, name, found)


REGISTRIES = ("eofuse.models.fusion:FUSIONS", "eofuse.models.encoders:ENCODERS", "eofuse.learning.pretraining:METHODS")


@pytest.mark.parametrize("registry", [*REGISTRIES, "eofuse.models.temporal:TEMPORAL"])
def test_everything_that_can_be_chosen_is_documented(registry):
    text = (SOURCE.parents[1] / "docs" / "recipes.md").read_text(encoding="utf-8")
    module, _, name = registry.partition(":")
    things = getattr(importlib.import_module(module), name)
    assert [thing for thing in things if things.package_of(thing) == "eofuse" and f"`{thing}`" not in text] == []


def strings(several) -> set[str]:
    return {node.value for node in several if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def listed(node: ast.AST) -> set[str]:
    """Strings that stand together: keys of a dictionary, elements of a list, values of a `Literal`."""
    if isinstance(node, ast.Dict):
        return strings(node.keys)
    return strings(node.elts) if isinstance(node, ast.List | ast.Tuple | ast.Set) else set()


def switched_on(node: ast.AST) -> set[str]:
    """Strings with which the name of a strategy or method is compared."""
    is_name = isinstance(node, ast.Compare) and ast.unparse(node.left).endswith((".strategy", ".method"))
    return strings(node.comparators) if is_name else set()


def test_names_of_things_stand_in_their_registry_only():
    modules = [registry.partition(":") for registry in REGISTRIES]
    registries = [set(getattr(importlib.import_module(module), name)) for module, _, name in modules]
    for path in SOURCE.rglob("*.py"):
        for node in nodes(path):
            together, compared = listed(node), switched_on(node)
            for names in registries if together or compared else ():
                assert len(together & names) < 2, (path, together)
                assert not compared & names, (path, compared)
