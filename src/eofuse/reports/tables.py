"""The leaderboard as rows, in the order in which the report, the terminal and the pictures show it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from eofuse.evaluation.metrics import METRICS
from eofuse.reports.wording import MetricWords, metric_words
from eofuse.studies.results import StudyResults

SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class Difference:
    """The paired difference of a variant to the baseline.

    `p` is the p value of this comparison alone, `p_holm` that after Holm's correction for all comparisons.
    """

    value: float
    low: float
    high: float
    p: float
    p_holm: float

    @classmethod
    def of(cls, line: Mapping[Any, Any]) -> "Difference":
        """The difference in a line of a table of comparisons."""
        return cls(line["difference"], line["low"], line["high"], line["p"], line["p_holm"])

    @property
    def distinguishable(self) -> bool:
        """Whether the interval excludes zero and the corrected p value is below 0.05."""
        return (self.low > 0 or self.high < 0) and self.p_holm < SIGNIFICANCE

    def is_better(self, metric: MetricWords) -> bool:
        """Whether the variant is distinguishably better than what it is compared with."""
        return self.distinguishable and (self.value < 0) == metric.lower_is_better


@dataclass(frozen=True)
class LeaderboardRow:
    """One line of the leaderboard.

    Controls have no `rank`. `mean` is the ranking metric, mean over seeds, with the ends of its 95 % interval, and `other_metrics` are
    the others by name. `difference` is that to the baseline, None for the baseline itself and where none was computed; `learning_rate`
    is what the search chose, and `seconds` the mean duration of a final run.
    """

    rank: int | None
    variant: str
    role: str
    strategy: str
    inputs: tuple[str, ...]
    encoder: str
    mean: float
    low: float
    high: float
    seed_sd: float
    n_seeds: int
    n_test: int
    n_scenes: int
    other_metrics: dict[str, float]
    difference: Difference | None
    is_baseline: bool
    parameters: float
    learning_rate: float
    seconds: float


def words(results: StudyResults, metric: str) -> MetricWords:
    """Words for a metric of a study's target: with its unit, and decimals that suit the leaderboard's values."""
    largest = largest_value(results.leaderboard, metric, "mean")
    return metric_words(metric, results.kind, results.summary["unit"], largest)


def largest_value(table: pd.DataFrame, metric: str, column: str) -> float:
    """The largest absolute value of a metric in a table; errors of all sorts are measured alike."""
    own = METRICS.get(metric)
    alike = [metric]
    if own is not None and own.in_unit and own.is_main:
        alike = [name for name, other in METRICS.items() if other.unit == own.unit and other.is_main]
    values = table[table["metric"].isin(alike)][column].abs()
    return float(values.max()) if len(values) else math.nan


def leaderboard_rows(results: StudyResults) -> list[LeaderboardRow]:
    """The variants by rank on the study's metric, then the controls, best first."""
    summary = results.summary
    metric = summary["metric"]
    ascending = words(results, metric).lower_is_better
    ranked = results.leaderboard[results.leaderboard["metric"] == metric]
    ranked = ranked.assign(is_control=ranked["role"] != "variant")
    ranked = ranked.sort_values(["is_control", "mean", "variant"], ascending=[True, ascending, True])
    lines = enumerate(ranked.to_dict("records"), start=1)
    return [_row(results, line, None if line["is_control"] else position) for position, line in lines]


def differences(results: StudyResults, metric: str, baseline: str) -> dict[str, Difference]:
    """Paired differences to a baseline on one metric, by variant."""
    table = results.comparisons
    table = table[(table["metric"] == metric) & (table["baseline"] == baseline) & (table["variant"] != baseline)]
    return {line["variant"]: Difference.of(line) for line in table.to_dict("records")}


def final_cells(results: StudyResults, variant: str) -> pd.DataFrame:
    """The final runs of a variant or control: without those of the search."""
    cells = results.cells
    return cells[(cells["variant"] == variant) & (cells["role"] != "search")]


def _row(results: StudyResults, line: dict[Any, Any], rank: int | None) -> LeaderboardRow:
    summary = results.summary
    name = line["variant"]
    described: dict[str, Any] = next((entry for entry in summary["variants"] if entry["name"] == name), {})
    others = results.leaderboard[results.leaderboard["variant"] == name].set_index("metric")["mean"]
    cells = final_cells(results, name)
    parameters, learning_rate = (described.get(key) for key in ("parameters", "learning_rate"))
    return LeaderboardRow(
        rank=rank,
        variant=name,
        role=line["role"],
        strategy=described.get("strategy") or "",
        inputs=tuple(described.get("inputs") or ()),
        encoder=described.get("encoder") or "",
        mean=line["mean"],
        low=line["low"],
        high=line["high"],
        seed_sd=line["seed_sd"],
        n_seeds=int(line["n_seeds"]),
        n_test=int(line["n_test"]),
        n_scenes=int(line["n_scenes"]),
        other_metrics={
            key: float(others[key]) for key in summary["metrics"] if key in others and key != line["metric"]
        },
        difference=differences(results, line["metric"], summary["baseline"]).get(name),
        is_baseline=name == summary["baseline"],
        parameters=math.nan if parameters is None else float(parameters),
        learning_rate=math.nan if learning_rate is None else float(learning_rate),
        seconds=float(cells["seconds"].mean()) if len(cells) else math.nan,
    )
