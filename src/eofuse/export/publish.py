"""Publishes a trained run: a folder with its model, its card and checksums, from which anyone with eofuse predicts."""

import os
import shutil
from pathlib import Path

from eofuse.data.publish.folder import published_folder
from eofuse.export.card import CARD_FILE, model_card
from eofuse.learning.facts import LOGGED_FILE, check_records
from eofuse.learning.run import open_last
from eofuse.locks import writes

LEFT_OUT = ("checkpoint*", "tensorboard", LOGGED_FILE, "predictions", CARD_FILE, ".*")
"""What only its training or its evaluation needs."""


@writes("to")
def publish_model(run: str | os.PathLike[str], to: str | os.PathLike[str], licence: str = "") -> Path:
    """Writes what predictions need of a run into a new folder.

    Args:
        run: its folder; the store it learned from must be where it was, for the card.
        to: the folder, which `eofuse download` takes from any server, and `eofuse predict` and `eofuse map` as a run.
        licence: of the model, for the card.

    Returns:
        The folder.

    Raises:
        UsageError: if it is no run folder, or the folder exists.
        DataError: if the run is not finished or damaged, or its store is not there or has changed.
    """
    opened = open_last(Path(run))
    check_records(opened.folder)  # before checksums of the copies approve them
    name = opened.options.name or opened.folder.resolve().name
    with published_folder(Path(to), name, "model") as partial:
        model_card(run, partial / CARD_FILE, licence)  # first: it writes the scores into the run where they are missing
        shutil.copytree(run, partial, ignore=shutil.ignore_patterns(*LEFT_OUT), dirs_exist_ok=True)
    return Path(to)
