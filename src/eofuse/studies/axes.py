"""What varies in a study: the options of its section."""

from typing import Annotated, Any

from pydantic import Field, StrictFloat, StrictInt, field_validator, model_validator

from eofuse.config import Options
from eofuse.data.splits.subsets import Amount, check_amount
from eofuse.errors import UsageError, did_you_mean


class SearchOptions(Options):
    """The search of the learning rate that every variant gets on each fold and amount of labels: the first seed, on validation.

    Attributes:
        learning_rates: candidates.
        steps: budget of a search run; that of a full run by default, so that the winner is one of the study's runs already.
    """

    learning_rates: list[Annotated[float, Field(gt=0)]] = Field(default=[3e-4, 1e-3, 3e-3], min_length=1)
    steps: int | None = Field(default=None, ge=1)


class AxesOptions(Options):
    """What varies.

    Attributes:
        title: heading of the report.
        variants: by name, the keys of the recipe that differ.
        baseline: the variant with which the others are compared.
        seeds: of the runs of each variant.
        folds: number of folds, each tested once a seed; needs a split with folds.
        label_amounts: of labels, as `labels.amount` has them; counts a class come before fractions. Every seed draws labels of its
            own, the same for all variants.
        search: of the learning rate.
        pretraining: by name, the keys of a pretraining's recipe that differ from the base; it runs for every seed and fold, and
            variants start from it by `start: {from: "pretraining:NAME"}`.
        twins: whether each variant with several tasks is set beside a variant for each of its tasks alone, at equal steps.
        trees: variants beside which a random forest and gradient boosting learn from the same inputs, which are without pixels.
        compare: by a question, two rows of the leaderboard whose paired difference answers it: variants or controls. The question
            is whether the first is better.
        without: whether every final run with the most labels is asked again about its test patches with each of its modalities taken
            away.
        attribution: whether it is asked with every set of them taken away, for Shapley values.
        controls: whether the constant predictor, the frozen random encoders and, for maps, the linear models of pixels run too.
        replicates: draws of the test scenes, of which the share that reaches a goal is reported (labels needed to match).
    """

    title: str | None = None
    variants: dict[str, dict[str, Any]] = Field(min_length=1)
    baseline: str
    seeds: list[int] = Field(default=[0, 1, 2], min_length=1)
    folds: int | None = Field(default=None, ge=2)
    label_amounts: list[StrictInt | StrictFloat] | None = Field(default=None, min_length=1)
    search: SearchOptions = SearchOptions()
    pretraining: dict[str, dict[str, Any]] = Field(default_factory=dict)
    twins: bool = False
    trees: list[str] = Field(default_factory=list)
    compare: dict[str, tuple[str, str]] = Field(default_factory=dict)
    without: bool = False
    attribution: bool = False
    controls: bool = True
    replicates: int = Field(default=2000, ge=100)

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, value: list[int]) -> list[int]:
        if len(set(value)) < len(value) or min(value) < 0 or max(value) >= 2**32:
            raise ValueError("seeds must be different, from 0 to 2^32 - 1")
        return value

    @field_validator("label_amounts")
    @classmethod
    def _ascending(cls, value: list[Amount] | None) -> list[Amount] | None:
        if value is None:
            return None
        ordered = sorted(map(check_amount, value), key=lambda amount: (isinstance(amount, float), amount))
        if len({str(amount) for amount in ordered}) < len(ordered):
            raise ValueError("an amount is named twice")
        return ordered

    @field_validator("compare")
    @classmethod
    def _two_rows(cls, value: dict[str, tuple[str, str]]) -> dict[str, tuple[str, str]]:
        for question, (first, other) in value.items():
            if first == other:
                raise ValueError(f"'{question}' compares '{first}' with itself")
        return value

    @model_validator(mode="after")
    def _baseline_is_a_variant(self) -> "AxesOptions":
        if self.baseline not in self.variants:
            what = f"the baseline '{self.baseline}' is no variant; {did_you_mean(self.baseline, self.variants)}"
            raise ValueError(what)
        for name in self.trees:
            if name not in self.variants:
                raise UsageError(f"no variant '{name}'", where="study.trees", fix=did_you_mean(name, self.variants))
        return self
