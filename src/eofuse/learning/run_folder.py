"""What a run begins with: its folder with the recipe, the data and the weights, and whether they are still the same."""

from pathlib import Path

from eofuse.config import OptionsType, parse_options, read_yaml, write_yaml
from eofuse.data.doors import describe_path
from eofuse.data.store import Store
from eofuse.errors import DataError, UsageError
from eofuse.files import is_empty, write_text
from eofuse.learning.facts import DATA_FILE, read_facts
from eofuse.learning.options import LearningOptions, RunOptions
from eofuse.learning.preparation import annotation_digests
from eofuse.learning.train_options import WITHOUT_EFFECT
from eofuse.learning.transfer import refuse_changed_weights

RECIPE_FILE = "recipe.yaml"


def read_options(folder: Path) -> RunOptions:
    """The recipe of a run folder.

    Raises:
        UsageError: if it is no run folder.
    """
    return read_recipe(folder, RunOptions)


def read_recipe(folder: Path, kind: type[OptionsType]) -> OptionsType:
    """The recipe of a folder, as options of this kind.

    Raises:
        UsageError: if there is none.
    """
    if not (folder / RECIPE_FILE).is_file():
        what, fix = "is no run folder (it has no recipe.yaml)", "give the folder that `eofuse train` made"
        found = describe_path(folder)
        if found is not None:
            what, fix = f"is {found[0]}, not a run", found[1]
        raise UsageError(what, where=folder, fix=fix)
    return parse_options(kind, read_yaml(folder / RECIPE_FILE), where=folder / RECIPE_FILE)


def recipe_text(options: LearningOptions) -> str:
    """A run's recipe as it stands in its folder, with absolute paths."""
    if isinstance(options, RunOptions) and options.start is not None:
        options = options.model_copy(update={"start": options.start.resolved()})
    values = options.model_dump(mode="json")
    values["data"]["store"] = str(Path(options.data.store).resolve())
    for task in [values.get("task"), *(values.get("tasks") or {}).values()]:
        if task and task["file"]:
            task["file"] = str(Path(task["file"]).resolve())
    if (values.get("labels") or {}).get("order"):
        values["labels"]["order"] = str(Path(values["labels"]["order"]).resolve())
    return write_yaml(values)


def start_run(options: LearningOptions, folder: Path) -> None:
    """Makes a run folder with its recipe; one that holds this very recipe, but for what changes no number, is gone on with.

    Raises:
        UsageError: if the folder holds something else.
    """
    file = folder / RECIPE_FILE
    if folder.exists():
        if file.is_file():
            there = read_recipe(folder, type(options))
            alike = {name: getattr(options.train, name) for name in WITHOUT_EFFECT}
            train = there.train.model_copy(update=alike)
            if recipe_text(there.model_copy(update={"data": options.data, "train": train})) != recipe_text(options):
                fix = f"choose another folder, or go on with it by `eofuse resume {folder}`"
                raise UsageError("exists and holds another run", where=folder, fix=fix)
        elif not is_empty(folder):
            raise UsageError("exists and holds something else", where=folder, fix="choose another folder")
    write_text(file, recipe_text(options))


def check_same_data(folder: Path, store: Store) -> None:
    """Raises a `DataError` if the run began with other data, or from other weights."""
    file = folder / DATA_FILE
    if not file.is_file():
        return
    began = read_facts(folder, DATA_FILE)
    if "annotations" in began:
        digests = annotation_digests(read_options(folder))
        changed = [name for name, digest in digests.items() if digest not in began["annotations"]]
        if changed:
            what = "the file is not the one with which this run began"
            raise DataError(what, where=changed[0], fix="start a new run")
        start = read_options(folder).start
        if start is not None:
            refuse_changed_weights(start, began_with(folder))
    if began["fingerprint"] != store.fingerprint:
        raise DataError("the store is not the one with which this run began", where=folder, fix="start a new run")


def began_with(folder: Path) -> str | None:
    """The digest of the weights with which a run began; None if it did not begin, or with none that has a file."""
    file = folder / DATA_FILE
    return read_facts(folder, DATA_FILE).get("weights") if file.is_file() else None
