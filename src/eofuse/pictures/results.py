"""The results of one run, as what draws a study takes them."""

from pathlib import Path

import pandas as pd

from eofuse.learning.facts import DATA_FILE, read_facts
from eofuse.learning.outputs import maps_file
from eofuse.learning.run import Run
from eofuse.studies.results import OverLabels, StudyResults


class RunResults(StudyResults):
    """What a single run says of its test patches, as the results of a study with one variant and one seed."""

    def maps_file(self, cell: str) -> Path:
        """Where the maps that the run predicted lie."""
        return maps_file(self.folder, self.summary["target"])


def results_of(run: Run, target: str | None = None) -> RunResults:
    """The results of a tested run for one of its targets, the first by default.

    Raises:
        DataError: if its predictions are missing or damaged.
    """
    target = target or run.targets[0]
    entry = next(entry for entry in run.result["targets"] if entry["target"] == target)
    data, name = read_facts(run.folder, DATA_FILE), run.options.name
    summary = {
        **{key: entry[key] for key in ("target", "classes", "unit", "metric")},
        "task_kind": entry["kind"],
        "baseline": name,
        "crop": run.options.data.crop,
        "store_path": data["store_path"],
        "fingerprint": data["fingerprint"],
    }
    labels = {"variant": name, "role": "variant", "seed": 0, "fold": 0, "n_labels": data["patches"]["train"]}
    nothing = pd.DataFrame()
    cells = pd.DataFrame([{"cell": "", **labels}])
    return RunResults(
        folder=run.folder,
        summary=summary,
        predictions=run.predictions(target).assign(**labels),
        cells=cells,
        labels=labels["n_labels"],
        over_labels=OverLabels(*[nothing] * 6),
        **dict.fromkeys(
            ("results", "leaderboard", "comparisons", "questions", "without", "attribution", "curves", "per_class"),
            nothing,
        ),
    )
