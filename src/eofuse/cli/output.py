"""How commands do their work and what they print: lines for people, whatever names stand in them, or JSON for programs."""

import argparse
import dataclasses
import inspect
import json
import math
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from eofuse.words import printable

Result = TypeVar("Result")


def carry_out(
    function: Callable[..., Result], arguments: argparse.Namespace, what: str, unit: str, **own: object
) -> Result:
    """Calls a function with a progress bar and those arguments of the command line that have the names of its parameters.

    Args:
        function: what a command does.
        arguments: of the command.
        what: what is being done, beside the bar.
        unit: of what is counted.
        own: arguments in place of those of the command line, or besides them.
    """
    from eofuse.terminal import progress_bar

    names = inspect.signature(function).parameters
    given = {name: value for name, value in vars(arguments).items() if name in names}
    with progress_bar(what, unit) as progress:
        return function(**{**given, **own}, progress=progress)


def show(text: object) -> None:
    """Prints a result; control characters are written out."""
    print(printable(str(text)))


def say(words: str) -> None:
    """Prints a last line on the error stream, where that can be done."""
    with suppress(OSError, ValueError):
        line = printable(words).replace("\n", "\\n")
        print(f"eofuse: {line}", file=sys.stderr, flush=True)


def show_json(values: Mapping[str, Any]) -> None:
    """Prints a result as one JSON object.

    Tables are lists of rows, dataclasses are objects, numbers that are not finite are null, and all characters are ASCII.
    """
    print(json.dumps(_plain(values), indent=2, allow_nan=False))


def _plain(value: Any) -> Any:
    """A value as JSON knows it."""
    if hasattr(value, "to_dict") and hasattr(value, "columns"):  # a DataFrame
        return [_plain(row) for row in value.to_dict("records")]
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if hasattr(value, "tolist"):  # numbers and arrays of numpy
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)
