"""The questions that a study asks of two of its rows (`study.compare`), answered in words."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from eofuse.reports.answer import difference_words
from eofuse.reports.tables import Difference, words
from eofuse.reports.wording import MetricWords
from eofuse.studies.results import StudyResults


@dataclass(frozen=True)
class Answer:
    """A question with its answer.

    Attributes:
        question: as the study has it.
        verdict: the answer in a word or two.
        reason: the paired difference behind it, as a sentence.
    """

    question: str
    verdict: str
    reason: Markup


def answers(results: StudyResults) -> list[Answer]:
    """Answers by the ranking metric, in the order in which the study asks.

    Yes or no only if the first row is distinguishably better or worse than the other: if the 95 % interval of the paired difference
    excludes zero and its p, corrected by Holm's method over the questions and amounts of labels, is below 0.05.
    """
    metric = words(results, results.summary["metric"])
    table = results.questions[results.questions["metric"] == metric.name]
    return [_answer(line, metric) for line in table.to_dict("records")]


def _answer(line: Mapping[Hashable, Any], metric: MetricWords) -> Answer:
    difference = Difference.of(line)
    if not difference.distinguishable:
        verdict, end = "Not shown", "not distinguishable from zero"
    elif difference.is_better(metric):
        verdict, end = "Yes", "distinguishably better"
    else:
        verdict, end = "No", "distinguishably worse"
    change = difference_words(difference, metric)
    reason = Markup("in {}, <strong>{}</strong> differs from <strong>{}</strong> by {}: {}.").format(
        metric.title, line["variant"], line["other"], change, end
    )
    return Answer(line["question"], verdict, reason)
