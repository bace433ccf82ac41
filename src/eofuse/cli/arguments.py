"""What commands of the command line share: `Parser`, and the arguments that several take."""

import argparse
from pathlib import Path
from typing import NoReturn

from eofuse.errors import did_you_mean
from eofuse.words import printable


class Parser(argparse.ArgumentParser):
    """A parser that names the nearest choice, and repeats words of the command line without their control characters."""

    reads: str = ""
    """Command whose sources of data the help names."""

    def format_help(self) -> str:
        """The help, with the sources of data that the command reads."""
        if self.reads:
            from eofuse.data.doors import readable

            self.epilog = f"It reads: {', '.join(readable(self.reads))}."
        return super().format_help()

    def error(self, message: str) -> NoReturn:
        """Ends the program with a message."""
        super().error(printable(message))

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            raise argparse.ArgumentError(action, f"there is no '{value}'; {did_you_mean(value, action.choices)}")


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Lets a command be told how many processes work at a time."""
    parser.add_argument("--workers", metavar="N", type=positive, help="processes at a time (default: one a core)")


def add_json(parser: argparse.ArgumentParser) -> None:
    """Lets a command answer in JSON."""
    parser.add_argument(
        "--json", action="store_true", help="the result as one JSON object, and nothing else on the output"
    )


def add_overwrite(parser: argparse.ArgumentParser) -> None:
    """Lets a command replace a store."""
    words = "replace a store of other content, or its interrupted packing"
    parser.add_argument("--overwrite", action="store_true", help=words)


def add_classes(parser: argparse.ArgumentParser) -> None:
    """Lets a command be told the names of a map's codes."""
    parser.add_argument(
        "--classes", metavar="FILE", type=Path, help="names of the map's codes, as YAML or JSON: {1: water, 2: forest}"
    )


def add_joining(parser: argparse.ArgumentParser) -> None:
    """Lets a command join stores that overlap, or of which some are simulated."""
    parser.add_argument(
        "--skip-identical", action="store_true", help="take a patch once that several stores hold alike"
    )
    parser.add_argument(
        "--with-simulated",
        action="store_true",
        help="allow simulated beside real patches: the whole counts as simulated",
    )


def names(text: str) -> list[str] | None:
    """Words between commas; None for no text."""
    return text.split(",") if text else None


def positive(text: str) -> int:
    """A whole number of 1 or more."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return value


def not_negative(text: str) -> int:
    """A whole number of 0 or more."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError("must be 0 or more")
    return value


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """Lets a command take a recipe, changes to it, and a store."""
    parser.add_argument("recipe", metavar="RECIPE.yaml", type=Path)
    parser.add_argument("overrides", metavar="key=value", nargs="*", help="changes to the recipe, like train.steps=500")
    parser.add_argument("--store", metavar="STORE", type=Path, help="a store in place of the recipe's")
