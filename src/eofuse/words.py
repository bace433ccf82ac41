"""Counts in words for people: `counted`."""


def counted(number: int, noun: str, several: str = "") -> str:
    """A count with its noun: `1 scene`, `2,000 scenes`.

    Args:
        number: how many.
        noun: for one.
        several: for any other number; the noun with an s by default.
    """
    return f"{number:,} {noun if number == 1 else several or f'{noun}s'}"
