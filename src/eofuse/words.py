"""Words for people: `counted` for counts, `printable` for names that others chose."""

import unicodedata
from collections.abc import Iterable

_TURNS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Marks that change the direction of the letters around them, so that a line reads as another one."""

NO_XML = dict.fromkeys([*range(9), 11, 12, *range(14, 32), 0xFFFE, 0xFFFF])
"""Characters that XML has no place for: a file with one of them is not read at all. For `str.translate`."""


def counted(number: int, noun: str, several: str = "") -> str:
    """A count with its noun: `1 scene`, `2,000 scenes`.

    Args:
        number: how many.
        noun: for one.
        several: for any other number; the noun with an s by default.
    """
    return f"{number:,} {noun if number == 1 else several or f'{noun}s'}"


def listed(names: Iterable[str], most: int = 30) -> str:
    """Names with commas between; of more than `most` the first, and how many more there are."""
    every = list(names)
    more = f" and {len(every) - most:,} more" if len(every) > most else ""
    return ", ".join(every[:most]) + more


def is_control(letter: str) -> bool:
    """Whether a letter is a control character, half of a pair, or a mark that turns the direction; line ends and tabs are none."""
    return letter in _TURNS or (letter not in "\n\t" and unicodedata.category(letter) in ("Cc", "Cs"))


def printable(text: str) -> str:
    """A text whose control characters are written out as escapes, so that they command no terminal."""
    if text.isprintable():
        return text
    return "".join(letter.encode("unicode_escape").decode("ascii") if is_control(letter) else letter for letter in text)
