"""Licences of published weights: those that forbid commercial use are only taken if the use is none (`refuse_non_commercial`)."""

import re

from eofuse.errors import UsageError

OF_TORCHGEO = {"ScaleMAE_ViTLarge16_Weights": "CC-BY-NC-4.0"}
"""Licences of torchgeo's weights that forbid commercial use, by the first part of their names."""


def forbids_commerce(licence: str) -> bool:
    """Whether a licence, by its name, forbids commercial use."""
    return re.search(r"\bnc\b|non-?commercial", licence, re.IGNORECASE) is not None


def refuse_non_commercial(licence: str, title: str, is_allowed: bool) -> None:
    """Raises a `UsageError` if a licence forbids commercial use and nobody said that the use is none.

    Args:
        licence: its name, "" where it is not known.
        title: of the weights, for messages.
        is_allowed: whether the use is not commercial.
    """
    if forbids_commerce(licence) and not is_allowed:
        fix = "if your use is none, say so: start.non_commercial: true, or eofuse embed --non-commercial"
        raise UsageError(f"their licence ({licence}) forbids commercial use", where=title, fix=fix)
