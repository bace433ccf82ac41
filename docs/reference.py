"""The generated pages of the documentation: what options, registries, the command line and docstrings say of themselves.

`write_pages` writes them as MyST Markdown; `conf.py` calls it before the site is built. `PAGES` has a function for each.
"""

import argparse
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic.fields import FieldInfo

import eofuse
from eofuse.cli.parser import make_parser
from eofuse.config import Options
from eofuse.data.collect.spec import CollectSpec
from eofuse.data.sources import SOURCES
from eofuse.data.sources.scenes.spec import SceneSpec
from eofuse.data.sources.table.spec import TableSpec
from eofuse.evaluation.metrics import METRICS, metrics_of
from eofuse.kinds import KINDS
from eofuse.learning.augment import PRESETS
from eofuse.learning.options import RunOptions
from eofuse.learning.pretraining import METHODS, PretrainingOptions
from eofuse.models.encoders import ENCODERS
from eofuse.models.fusion import FUSIONS
from eofuse.models.temporal import TEMPORAL
from eofuse.registry import Registry
from eofuse.studies.axes import AxesOptions
from eofuse.tasks import TASKS, TaskOptions

WORDS = {str: "text", int: "whole number", float: "number", bool: "true or false", Any: "any value", Path: "path"}
BOUNDS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
CHOSEN_BY = {"fusion": FUSIONS, "pretrain": METHODS}
RETURNED = {
    "Stores and patches": ["eofuse.data.store.Store", "eofuse.data.dataset.PatchDataset"],
    "Modalities": ["eofuse.modalities.Modality", "eofuse.modalities.Channel", "eofuse.modalities.Kind"],
    "Runs and studies": [
        "eofuse.trained.TrainedRun",
        "eofuse.learning.run.Run",
        "eofuse.trained.Study",
        "eofuse.inference.arrays.Prediction",
    ],
    "Errors": ["eofuse.errors.EofuseError", "eofuse.errors.UsageError", "eofuse.errors.DataError"],
}
"""Classes that public functions take, return or raise."""


def write_pages(folder: Path) -> None:
    """Writes every generated page; a page that did not change keeps its time, so that Sphinx builds it once."""
    folder.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        path, text = folder / f"{name}.md", page()
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


# Recipes and specs: keys of option classes


def recipe_keys() -> str:
    """Every key of a recipe, by section."""
    parts = [
        "# Recipe keys",
        "Generated from the option classes: every key with its type, default and meaning. [Recipes](../recipes.md) explains them "
        "section by section, with examples. On the command line a key is written with its path: `train.steps=500`.",
        "## Top level",
    ]
    whole = {**RunOptions.model_fields}
    parts += [key_entry(RunOptions, name) for name in whole if section_of(whole[name]) is None]
    sections = {name: section_of(field) for name, field in whole.items()}
    sections |= {"pretrain": section_of(PretrainingOptions.model_fields["pretrain"]), "study": AxesOptions}
    for name, options in sections.items():
        if options is None or (options is TaskOptions and name != "task"):
            continue
        parts += [f"## {name}", summary(options)]
        parts += list(keys_under(options, f"{name}."))
        parts += list(keys_of_choices(name, options))
    return "\n\n".join(parts) + "\n"


def spec_keys() -> str:
    """Every key of the specs of tables, scenes and collections."""
    parts = [
        "# Spec keys",
        "Generated from the option classes. [Bring a table](../tables.md), "
        "[Bring scenes](../scenes.md) and [Collect patches](../collect.md) explain them.",
    ]
    for name, options in (("table", TableSpec), ("scenes", SceneSpec), ("collection", CollectSpec)):
        parts += [f"## Spec of {name if name == 'scenes' else f'a {name}'}", summary(options)]
        parts += list(keys_under(options, "", f"{name}: "))
    return "\n\n".join(parts) + "\n"


def keys_under(options: type[Options], path: str, label: str = "") -> Iterator[str]:
    """Entries of all keys of a section, those of sections in it too, except of the operations of views."""
    for name, field in options.model_fields.items():
        yield key_entry(options, name, f"{label}{path}")
        inner, holder = section_of(field), ""
        if inner is None:
            inner, holder = next(((found, "NAME.") for found in nested(field.annotation)), (None, ""))
        if inner is not None and inner.__name__ != "AugmentOptions":
            yield from keys_under(inner, f"{path}{name}.{holder}", label)


def keys_of_choices(section: str, options: type[Options]) -> Iterator[str]:
    """Keys that only some strategies or methods have."""
    seen: dict[str, tuple[type[Options], list[str]]] = {}
    for name, thing in CHOSEN_BY.get(section, {}).items():
        for key in thing.Options.model_fields.keys() - options.model_fields.keys():
            seen.setdefault(key, (thing.Options, []))[1].append(name)
    for key, (owner, names) in sorted(seen.items()):
        yield key_entry(owner, key, f"{section}.", f"For {', '.join(f'`{name}`' for name in names)}: ")


def key_entry(options: type[Options], name: str, path: str = "", before: str = "") -> str:
    """A key with type, default and meaning."""
    field = options.model_fields[name]
    meaning = attributes_of(options).get(name, "")
    words = f"{before}{meaning}" if before else _sentence(meaning)
    shown = field.alias or name
    return f"```{{confval}} {path}{shown}\n:type: {type_words(field)}\n:default: {default_words(field)}\n\n{words}\n```"


def section_of(field: FieldInfo) -> type[Options] | None:
    """The option class of a key that is a section."""
    found = [kind for kind in alternatives(field.annotation) if inspect.isclass(kind) and issubclass(kind, Options)]
    return found[0] if found else None


def nested(annotation: Any) -> list[type[Options]]:
    """Option classes within lists and mappings."""
    inner = [part for kind in alternatives(annotation) for part in get_args(kind)]
    return [
        kind for part in inner for kind in alternatives(part) if inspect.isclass(kind) and issubclass(kind, Options)
    ]


def alternatives(annotation: Any) -> list[Any]:
    """Types of a union, without what annotates them."""
    if get_origin(annotation) is Annotated:
        return alternatives(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [kind for part in get_args(annotation) for kind in alternatives(part)]
    return [annotation]


def type_words(field: FieldInfo) -> str:
    """Type and bounds of a key, in words."""
    for each in field.metadata:
        registry = getattr(getattr(each, "func", None), "__self__", None)
        if isinstance(registry, Registry):
            return f"name of {'an' if registry.title[0] in 'aeiou' else 'a'} {registry.title}"
    bounds = [
        f"{sign} {value}"
        for each in field.metadata
        for name, sign in BOUNDS.items()
        if (value := getattr(each, name, None)) is not None
    ]
    return ", ".join([words_of(field.annotation), *bounds])


def words_of(annotation: Any) -> str:
    """A type in words."""
    words = [word for kind in alternatives(annotation) if kind is not NoneType and (word := _word(kind))]
    return " or ".join(dict.fromkeys(words))


def _word(kind: Any) -> str:
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in inner)
    if origin in (list, tuple, set, frozenset):
        return f"list of {_plural(words_of(inner[0]))}"
    if origin in (dict, Mapping) or (inspect.isclass(origin) and issubclass(origin, Mapping)):
        return f"mapping of names to {_plural(words_of(inner[1]))}"
    if inspect.isclass(kind) and issubclass(kind, Options):
        return "section"
    return WORDS.get(kind, getattr(kind, "__name__", str(kind)))


def _plural(words: str) -> str:
    if words.startswith("list of "):
        return words.replace("list of", "lists of", 1)
    return f"{words}s" if words in ("number", "whole number", "path", "section") else words


def default_words(field: FieldInfo) -> str:
    """The default of a key as YAML writes it."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, Options):
        return "the defaults of its keys"
    if value is None or value in ((), [], {}):
        return "none"
    listed = list(value) if isinstance(value, tuple | set | frozenset) else value
    text = yaml.safe_dump(listed, default_flow_style=True, width=1000).removesuffix("...\n").strip()
    return f"`{text}`"


def attributes_of(owner: type) -> dict[str, str]:
    """What the `Attributes` of a docstring and of those of its bases say, by name."""
    found: dict[str, str] = {}
    for base in reversed(owner.__mro__):
        text = inspect.cleandoc(base.__dict__.get("__doc__") or "")
        section = re.search(r"^Attributes:\n((?:[ ]+.*\n?|\n)+)", text, flags=re.MULTILINE)
        for name, words in re.findall(
            r"^ {4}(\w+): ((?:.*\n?(?! {4}\w+: ))+)", section.group(1) if section else "", re.MULTILINE
        ):
            found[name] = " ".join(words.split())
    return found


def summary(thing: Any) -> str:
    """The first paragraph of a docstring."""
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())


# Names of registries


def names() -> str:
    """What can be chosen by name."""
    return (
        "\n\n".join(
            [
                "# Names",
                "What a recipe chooses by name, generated from the registries. Other packages can [add more](../extending.md).",
                "## Fusion strategies",
                "For `fusion.strategy`; see [Choose a fusion strategy](../strategies.md).",
                *entries({name: summary(thing) for name, thing in FUSIONS.items()}),
                "## Encoders",
                "For `fusion.series` and `fusion.encoders`. `fusion.encoder` and `fusion.encoders` take any timm name too "
                "that gives a pyramid of maps or is a vision transformer.",
                *entries({name: summary(thing) for name, thing in ENCODERS.items()}),
                "## Temporal encoders",
                "For `fusion.temporal`: what joins the dates of series of images.",
                *entries({name: summary(thing) for name, thing in TEMPORAL.items()}),
                "## Pretraining methods",
                "For `pretrain.method`.",
                *entries({name: summary(thing) for name, thing in METHODS.items()}),
                "## Kinds of tasks",
                "For `task.kind`; as a rule the target decides. The first loss, network and metric is the default.",
                *entries({name: _kind(name) for name in KINDS}),
                "## Metrics",
                "For `task.metric`, where the metric can rank; the others are in reports and tables.",
                *entries({name: _metric(name) for name in METRICS}),
                "## Sources of data",
                "What `eofuse check` and the named command take; the path decides.",
                *entries(
                    {
                        name: f"{thing.title}, for `eofuse {thing.command}`. {summary(thing)}"
                        for name, thing in SOURCES.items()
                    }
                ),
                "## Presets of augmentation",
                "For `augment` and `augment.preset`.",
                *entries(
                    {
                        name: ", ".join(f"`{key}: {_yaml(value)}`" for key, value in each.items()) or "Nothing."
                        for name, each in PRESETS.items()
                    }
                ),
            ]
        )
        + "\n"
    )


def entries(meanings: Mapping[str, str]) -> list[str]:
    """A definition list."""
    return [f"`{name}`\n: {words}" for name, words in meanings.items()]


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("...\n").strip()


def _kind(name: str) -> str:
    kind, task = KINDS[name], TASKS[name]
    ranking = [metric.name for metric in metrics_of(kind) if metric.is_main]
    parts = [("losses", task.losses), ("networks", task.networks), ("metrics", ranking)]
    listed = [f"{title} {', '.join(f'`{each}`' for each in things)}" for title, things in parts if things]
    return f"{_sentence(kind.words)}. {_sentence('; '.join(listed))}."


def _metric(name: str) -> str:
    metric = METRICS[name]
    meaning = metric.meaning.removesuffix("; best at 0")
    best = {"higher": "higher is better", "lower": "lower is better", "zero": "best at zero"}[metric.best]
    kinds = ", ".join(kind.title for kind in KINDS.values() if metric.is_for(kind))
    return f"**{metric.title}**: {meaning} ({best}). For {kinds}{'' if metric.is_main else '; does not rank'}."


# Command line


def command_line() -> str:
    """Every command with its arguments."""
    parser = make_parser()
    parts = [
        "# Command line",
        "Generated from the parser; `eofuse COMMAND -h` prints the same. Every command takes `-q` (results, notes and errors only) "
        "and `-v` (time, memory, a traceback with an error). Exit codes: 0 done, 1 wrong data, 2 misuse, 128 + the number of the "
        "signal that ended it.",
    ]
    for name, command in commands_of(parser).items():
        parts += [
            f"## {name}",
            command.description or "",
            f"```{{code-block}} text\n:class: usage\n\n{_usage(command)}\n```",
            f"```{{program}} eofuse {name}\n```",
        ]
        parts += [_argument(action) for action in command._actions if action.dest not in ("help", "quiet", "verbose")]
    return "\n\n".join(parts) + "\n"


def commands_of(parser: argparse.ArgumentParser) -> Mapping[str, argparse.ArgumentParser]:
    """The parsers of all commands by name."""
    return next(action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction))


def _usage(command: argparse.ArgumentParser) -> str:
    return " ".join(command.format_usage().removeprefix("usage: ").split())


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]


def _argument(action: argparse.Action) -> str:
    words = (action.help or "").replace("%%", "%")
    if action.choices:
        words = f"{words}{'; ' if words else ''}one of {', '.join(f'`{choice}`' for choice in action.choices)}"
    words = f"{words if re.match(r'[a-z]+[-_.(]', words) else _sentence(words)}." if words else ""
    value = action.metavar or (action.dest.upper() if action.nargs != 0 else "")
    value = value if isinstance(value, str) else " ".join(value)
    if not action.option_strings:
        return f"```{{option}} {value}\n\n{words}\n```"
    forms = ", ".join(f"{form} {value}".strip() for form in action.option_strings)
    return f"```{{option}} {forms}\n\n{words}\n```"


# Python interface


def python_interface() -> str:
    """Every public function, and the classes that they return."""
    functions = [name for name in eofuse.__all__ if name != "__version__"]
    parts = [
        "# Python interface",
        "Generated from the docstrings. [Use it from Python](../python.md) shows how the parts work together.",
        "## Functions",
        "`eofuse.__version__` is the version.",
        _rst(*(f".. autofunction:: eofuse.{name}" for name in functions)),
    ]
    for title, classes in RETURNED.items():
        parts += [f"## {title}", _rst(*(f".. autoclass:: {name}\n   :members:" for name in classes))]
    return "\n\n".join(parts) + "\n"


def _rst(*directives: str) -> str:
    return "```{eval-rst}\n" + "\n\n".join(directives) + "\n```"


PAGES: Mapping[str, Any] = {
    "recipe_keys": recipe_keys,
    "spec_keys": spec_keys,
    "names": names,
    "command_line": command_line,
    "python_interface": python_interface,
}
"""The generated pages by the name of their file."""

__all__: Sequence[str] = ["PAGES", "write_pages"]
