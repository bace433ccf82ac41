"""What maps scenes: a run, the best variant of a study, or a saved model (`open_predictor`)."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from eofuse.errors import UsageError
from eofuse.files import sha256
from eofuse.inference.ensemble import Ensemble, load_ensemble
from eofuse.inference.predict import may_lack_inputs
from eofuse.learning.run import MODEL_FOLDER, Run, open_last
from eofuse.maps.learned import LearnedAreas, learned_areas
from eofuse.models.artifact import DESCRIPTION, WEIGHTS
from eofuse.studies.choice import choose_runs
from eofuse.studies.results import is_study


@dataclass(frozen=True)
class Predictor:
    """Models that predict together.

    Attributes:
        model: the models.
        folders: in which they are saved.
        words: what they are.
        runs: that trained them; none of a model without its run.
        device: on which they are.
    """

    model: Ensemble
    folders: list[Path]
    words: str
    runs: list[Run]
    device: str

    @property
    def may_lack(self) -> bool:
        """Whether they have something in place of inputs that are missing."""
        return may_lack_inputs(self.model)

    @property
    def is_simulated(self) -> bool:
        """Whether they were trained on simulated data, as far as that is known."""
        return any(run.is_simulated for run in self.runs)

    @cached_property
    def digests(self) -> list[str]:
        """SHA-256 of the weights of each."""
        return [sha256(folder / WEIGHTS) for folder in self.folders]

    @cached_property
    def learned(self) -> LearnedAreas:
        """Where they learned."""
        return learned_areas(self.runs)


def open_predictor(folder: Path, variant: str | None = None, seed: int | None = None, device: str = "cpu") -> Predictor:
    """Loads what predicts.

    Args:
        folder: of a run, a study or a saved model.
        variant: of a study, in place of the best by validation.
        seed: of a study, only this one.
        device: on which it is wanted.

    Raises:
        UsageError: if there is no such variant or seed, or the folder is none of these.
        DataError: if training is not finished, or a file is damaged.
    """
    runs: list[Run] = []
    if is_study(folder):
        choice = choose_runs(folder, variant, seed)
        runs = [open_last(each) for each in choice.folders]
        words = f"{folder}, {choice.words}"
    elif variant is not None or seed is not None:
        raise UsageError("variant and seed choose among the runs of a study", where=folder, fix="leave them out")
    elif (folder / DESCRIPTION).is_file():
        words = f"model {folder}"
    else:
        runs, words = [open_last(folder)], f"run {folder}"
    folders = [run.folder / MODEL_FOLDER for run in runs] or [folder]
    return Predictor(load_ensemble(folders, device), folders, words, runs, device)
