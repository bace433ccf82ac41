"""Strict options from YAML: unknown and duplicate keys are errors that name the key's path and the nearest valid one.

Mechanics only: the options of a thing stand beside the thing, as a subclass of `Options`. `read_yaml` loads safely,
`apply_overrides` merges `key=value` words, `parse_options` validates.
"""

import re
import textwrap
from collections.abc import Mapping, Sequence
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, ClassVar, Self, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, ValidationError, model_validator

from eofuse.errors import UsageError, did_you_mean
from eofuse.limits import TEXT
from eofuse.words import is_control

MOST_NODES = 100_000
"""Keys and values of a file, those that an alias repeats counted each time."""

DEEPEST = 50
"""Levels of lists and sections within each other."""

MOST_PROBLEMS = 50
"""Wrong values of a file that are looked at."""

LARGEST_NUMBER = 2**63
"""Whole numbers are smaller in size, so that arrays hold them."""


class Options(BaseModel):
    """Base of all option groups: frozen, and strict about names."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Choice(Options):
    """Options of which one key names a thing of a registry, which may have more keys: a subclass of these options as its `Options`.

    Values become the `Options` of the thing that they name. Keys of other things are refused, but for their defaults.

    Attributes:
        chooser: the key that holds the name.
        choices: the registry.
    """

    chooser: ClassVar[str]
    choices: ClassVar[Mapping[str, Any]]

    def __new__(cls, **values: Any) -> Self:
        """Options of the thing that is named."""
        return super().__new__(cls.chosen(values))

    @classmethod
    def chosen(cls, values: Any) -> type[Self]:
        """The class of the options of the thing that these values name; this one where they name none."""
        name = values.get(cls.chooser) if isinstance(values, Mapping) else None
        thing = cls.choices.get(name) if isinstance(name, str) else None
        return thing.Options if thing is not None and issubclass(thing.Options, cls) else cls

    @model_validator(mode="wrap")
    @classmethod
    def _read(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        chosen = cls.chosen(values)
        if chosen is not cls:
            return chosen.model_validate(values)
        return handler(cls._own(values) if isinstance(values, Mapping) else values)

    @classmethod
    def _own(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values without those of other things, which must be defaults."""
        own, name = dict(values), values.get(cls.chooser)
        for key in values.keys() - cls.model_fields.keys():
            fields = {other: thing.Options.model_fields.get(key) for other, thing in cls.choices.items()}
            defaults = {other: field.default for other, field in fields.items() if field is not None}
            if defaults and name in cls.choices and values[key] not in defaults.values():
                raise ValueError(f"'{key}' is for {' and '.join(defaults)}, not for {name}")
            if defaults:
                del own[key]
        return own


OptionsType = TypeVar("OptionsType", bound=Options)


class _Loader(yaml.SafeLoader):
    """A safe loader that rejects duplicate keys and reads numbers and booleans as YAML 1.2 does.

    Aliases that repeat themselves or more than `MOST_NODES`, deep nesting, and scalars that can be no value are errors of YAML.
    """

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.depth += 1
        if self.depth > DEEPEST:
            raise yaml.composer.ComposerError(None, None, "is nested too deeply", self.get_mark())
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None and _count_nodes(node, {}, ()) > MOST_NODES:
            raise yaml.composer.ComposerError(None, None, f"holds more than {MOST_NODES:,} values", node.start_mark)
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep)
        except (ValueError, OverflowError, LookupError, AttributeError, TypeError) as error:
            if not isinstance(node, yaml.ScalarNode):
                raise
            why = f" ({error})" if type(error) is ValueError else ""
            raise _wrong_scalar(node, f"is no value{why}; in quotes it is text") from None
        if isinstance(value, str) and any(is_control(letter) for letter in value):
            raise _wrong_scalar(node, "holds a control character")
        if isinstance(value, int) and not -LARGEST_NUMBER <= value < LARGEST_NUMBER:
            raise _wrong_scalar(node, "is too large a number")
        return value


def _wrong_scalar(node: yaml.Node, problem: str) -> yaml.YAMLError:
    shown = textwrap.shorten(ascii(node.value), 60, placeholder=" …") if len(node.value) < 1000 else "a long word"
    return yaml.constructor.ConstructorError(None, None, f"{shown} {problem}", node.start_mark)


def _count_nodes(node: yaml.Node, known: dict[int, int], within: tuple[int, ...]) -> int:
    """Values under a node; what an alias repeats counts each time."""
    if id(node) in within:
        raise yaml.composer.ComposerError(None, None, "an alias holds itself", node.start_mark)
    if id(node) not in known:
        parts: list[yaml.Node] = []
        if isinstance(node, yaml.MappingNode):
            parts = [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            parts = node.value
        known[id(node)] = 1 + sum(_count_nodes(part, known, (*within, id(node))) for part in parts)
    return known[id(node)]


def _construct_mapping(loader: _Loader, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str | int | float | bool | NoneType):
            raise UsageError("keys must be words", where=f"line {key_node.start_mark.line + 1}")
        if key in seen:
            raise UsageError(f"duplicate key '{key}'", where=f"line {key_node.start_mark.line + 1}", fix="keep one")
        seen.add(key)
    return yaml.SafeLoader.construct_mapping(loader, node, deep=deep)


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _construct_mapping)
_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern) for tag, pattern in resolvers if tag not in ("tag:yaml.org,2002:bool", "tag:yaml.org,2002:float")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^(?:[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+0123456789."),
)


@lru_cache(maxsize=64)
def _load(text: str) -> Any:
    """The values of a text, which are shared: a study reads the same recipes again and again."""
    return yaml.load(text, Loader=_Loader)  # a subclass of SafeLoader


def parse_yaml(text: str, where: object = "YAML") -> Any:
    """Parses YAML safely; a duplicate key or a syntax error is a `UsageError` that names the line."""
    try:
        return deepcopy(_load(text))
    except UsageError as error:
        raise UsageError(error.what, where=f"{where}, {error.where}", fix=error.fix) from None
    except (RecursionError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error)
        raise UsageError(f"not valid YAML: {problem}", where=f"{where}{line}") from None


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Reads a YAML file whose top level is a mapping.

    Raises:
        UsageError: if the file is missing, not text, not YAML or not a mapping.
    """
    path = Path(path)
    try:
        text = TEXT.read(path)
    except OSError as error:
        raise UsageError(f"can't be read: {error.strerror}", where=path, fix="check the path") from None
    except UnicodeDecodeError:
        raise UsageError("is not UTF-8 text", where=path) from None
    values = parse_yaml(text, path)
    if not isinstance(values, dict):
        raise UsageError("must be a mapping of keys to values", where=path)
    return values


def write_yaml(values: Mapping[str, Any]) -> str:
    """YAML text that `parse_yaml` reads back to the same values."""
    return yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False, width=120)


class _Dumper(yaml.SafeDumper):
    """Writes with the resolvers of `_Loader`, so that strings that look like numbers are quoted."""


_Dumper.yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers


def merge(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with the keys of `change` in place of its own; mappings are merged, everything else is replaced."""
    merged = dict(base)
    for key, value in change.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def apply_overrides(values: Mapping[str, Any], words: Sequence[str]) -> dict[str, Any]:
    """`values` with `key.path=value` words merged in; each value is read as YAML.

    Raises:
        UsageError: if a word has no `=` or its path runs through something that is no mapping.
    """
    result = dict(values)
    given: set[str] = set()
    for word in words:
        path, equals, text = word.partition("=")
        if path in given:
            raise UsageError(f"'{path}' is given twice", fix="keep one")
        given.add(path)
        if not equals or not path:
            raise UsageError(f"'{word}' is no override", fix="write key=value, for example train.steps=500")
        change: Any = parse_yaml(text, word) if text else None
        for key in reversed(path.split(".")):
            change = {key: change}
        result = merge(result, change)
    return result


def parse_options(kind: type[OptionsType], values: Mapping[str, Any], where: object = None) -> OptionsType:
    """Validates values as an option group.

    Raises:
        UsageError: naming each wrong key's path, with the nearest valid name for an unknown one.
    """
    if _holds_control(values):  # no YAML file of it could be read again
        raise UsageError("a name or value holds a control character", where=where, fix="write it without")
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        found = [dict(problem) for problem in error.errors()]
        problems = _explain_all(kind, values, found[:MOST_PROBLEMS])
        if len(found) > MOST_PROBLEMS:
            problems.append(f"and {len(found) - MOST_PROBLEMS:,} more")
    raise UsageError("; ".join(problems), where=where)


def _holds_control(value: Any) -> bool:
    if isinstance(value, str):
        return not value.isprintable() and any(map(is_control, value))
    if isinstance(value, Mapping):
        return any(_holds_control(part) for pair in value.items() for part in pair)
    return isinstance(value, list | tuple) and any(map(_holds_control, value))


def _explain_all(kind: type[Options], values: Mapping[str, Any], problems: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each wrong key. Of a key that may hold several sorts of values, those that are wrong within come first."""
    by_place: dict[tuple[str, ...], list[str]] = {}
    ends_early: set[tuple[str, ...]] = set()
    for problem in problems:
        place, is_alternative = _place(values, problem)
        words = _explain(kind, values, place, problem)
        if words not in by_place.setdefault(place, []):
            by_place[place].append(words)
        if is_alternative:
            ends_early.add(place)
    lines = []
    for place, alternatives in by_place.items():
        within = any(other != place and other[: len(place)] == place for other in by_place)
        if not (place in ends_early and within):
            path = ".".join(place)
            said = ", or ".join(alternatives)
            lines.append(f"{path}: {said}" if path else said)
    return lines


def _place(values: Mapping[str, Any], problem: Mapping[str, Any]) -> tuple[tuple[str, ...], bool]:
    """The keys that lead to a wrong value, and whether pydantic put the name of one of several types among them."""
    place: list[str] = []
    at: Any = values
    location = list(problem["loc"])
    is_alternative = False
    for number, part in enumerate(location):
        within = at if isinstance(at, Mapping) else dict(enumerate(at)) if isinstance(at, list | tuple) else {}
        if part in within:
            at = within[part]
        elif part == "[key]":
            continue
        elif not (problem["type"] == "missing" and number == len(location) - 1) and place:
            is_alternative = True
            continue
        place.append(str(part))
    return tuple(place), is_alternative


_MESSAGES = {
    "model_type": "must be a section of keys",
    "dict_type": "must be a mapping of keys to values",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "string_type": "must be text",
    **dict.fromkeys(("int_parsing", "int_from_float", "int_type"), "must be a whole number"),
    **dict.fromkeys(("float_parsing", "float_type"), "must be a number"),
    **dict.fromkeys(("bool_parsing", "bool_type"), "must be true or false"),
}


def _explain(kind: type[Options], values: Any, place: Sequence[str], problem: Mapping[str, Any]) -> str:
    """What is wrong with a value."""
    given = problem["input"]
    if problem["type"] == "extra_forbidden":
        return f"unknown key; {did_you_mean(place[-1], _keys_at(kind, place[:-1], values))}"
    if problem["type"] == "missing":
        return "this key is required"
    shown = textwrap.shorten(repr(given), 200, placeholder=" …") if len(repr(given)) > 200 else repr(given)
    if problem["type"] == "literal_error":
        choices = re.findall(r"'([^']*)'", problem["ctx"]["expected"])
        word = f"'{given}'" if isinstance(given, str) and len(given) < 200 else shown
        return f"{word} is not valid; {did_you_mean(given, choices)}"
    message = _MESSAGES.get(problem["type"]) or str(problem["msg"]).removeprefix("Value error, ")
    message = re.sub("^Input should ", "must ", message)
    if place:
        message = f"{message[:1].lower()}{message[1:]}"
    is_own = problem["type"] == "value_error" and (isinstance(given, Mapping) or shown in message)
    return message if is_own or not place else f"{message} (given: {shown})"


def _keys_at(kind: Any, location: Sequence[str], values: Any) -> list[str]:
    """Valid keys of the option group to which a path leads."""
    for part in location:
        fields = getattr(kind, "model_fields", {})
        values = values.get(part) if isinstance(values, Mapping) else None
        if part in fields:
            kind = _options_in(fields[part].annotation)
        elif not fields:
            break
    if isinstance(kind, type) and issubclass(kind, Choice):
        kind = kind.chosen(values)
    return [field.alias or name for name, field in getattr(kind, "model_fields", {}).items()]


def _options_in(annotation: Any) -> Any:
    """The first option group inside an annotation such as `X | None` or `dict[str, X]`."""
    if isinstance(annotation, type) and issubclass(annotation, Options):
        return annotation
    if get_origin(annotation) in (Union, UnionType, dict, list, tuple):
        for inner in get_args(annotation):
            found = _options_in(inner)
            if found is not None:
                return found
    return None
