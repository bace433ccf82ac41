"""The folder of a store that is being written: its journal, its removal, and the name that it gets when it is whole."""

import contextlib
import shutil
from pathlib import Path
from typing import Any

from eofuse.errors import DataError
from eofuse.files import exchange, read_json, synchronise
from eofuse.records import SEAL, seal_is_whole

JOURNAL_FILE = "journal.json"
REPLACED_FOLDER = "replaced"


def remove_partial_of(folder: Path, job: str) -> None:
    """Removes a partial store of a job that can't go on where it stopped."""
    if read_journal(folder).get("job") == job:
        remove_partial(folder)


def read_journal(folder: Path) -> dict[str, Any]:
    """The journal of a partial store, empty if there is none or it is damaged."""
    with contextlib.suppress(OSError, ValueError, DataError):
        journal = read_json(folder / JOURNAL_FILE)
        if isinstance(journal, dict) and seal_is_whole(journal, ()):
            return {key: value for key, value in journal.items() if key != SEAL}
    return {}


def move_into_place(partial: Path, store: Path) -> None:
    """Gives a finished store its name, in one step where the system can; another store of that name is removed only then."""
    if not store.exists():
        partial.rename(store)
    elif not exchange(partial, store):
        store.rename(partial / REPLACED_FOLDER)
        partial.rename(store)
    synchronise(store.parent)
    clear_up(store)


def clear_up(store: Path) -> None:
    """Removes what only the packing needed, and the store that was replaced; a finished store with a journal has just got its name."""
    partial = store.with_name(f"{store.name}.partial")
    if (store / JOURNAL_FILE).exists():
        remove_partial(partial)
        if not partial.exists():  # else the next command tries again
            (store / JOURNAL_FILE).unlink()
    shutil.rmtree(store / REPLACED_FOLDER, ignore_errors=True)


def remove_partial(folder: Path) -> None:
    """Removes a partial store as far as the system allows, its journal last: what an interruption leaves still says what it is."""
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != JOURNAL_FILE:
            with contextlib.suppress(OSError):
                path.unlink()
    if folder.is_dir() and all(path.name == JOURNAL_FILE for path in folder.iterdir()):
        shutil.rmtree(folder, ignore_errors=True)
