"""The answer of a study in plain sentences, and what a reader must be warned of; every number comes from the tables."""

import math

from markupsafe import Markup

from eofuse.reports.tables import Difference, LeaderboardRow, leaderboard_rows
from eofuse.reports.wording import listing, metric_words, number, p_value, plural, signed
from eofuse.studies.results import StudyResults

FEW_PATCHES = 100
FEW_SCENES = 10
FEW_SEEDS = 3
MOST_NAMES = 3


def answer(results: StudyResults) -> Markup:
    """The answer in one paragraph: who ranks first, whether that can be told from the baseline, and the controls.

    A difference counts as distinguishable if its 95 % interval excludes zero and its Holm-corrected p is below 0.05.
    """
    rows = leaderboard_rows(results)
    variants = [row for row in rows if row.role == "variant"]
    controls = [row for row in rows if row.role != "variant"]
    if not variants:
        return Markup("The study holds no scores of variants.")
    top = variants[0]
    sentences = [_first_place(results, top, len(variants))]
    if top.is_baseline:
        sentences.append(_baseline_first(top, variants[1:], lower_is_better=_lower_is_better(results)))
    else:
        sentences.append(_difference(results, top))
        others = [row for row in variants if row is not top and not row.is_baseline and row.difference is not None]
        if others:
            sentences.append(_others(others, lower_is_better=_lower_is_better(results)))
    sentences.extend(_controls(top, controls, lower_is_better=_lower_is_better(results)))
    return Markup(" ").join(sentences)


def cautions(results: StudyResults) -> list[str]:
    """Warnings: those of the study itself, then what its size forbids to conclude."""
    found = [_sentence(str(warning)) for warning in results.summary["warnings"]]
    patches = int(results.summary["patches"].get("test", 0))
    scenes = int(results.summary["scenes"].get("test", 0))
    is_said = any("prove nothing" in warning for warning in found)
    if not is_said and (patches < FEW_PATCHES or scenes < FEW_SCENES):
        found.append(
            f"The test set is small: {plural(patches, 'patch', 'patches')} from {plural(scenes, 'scene')}. "
            "Numbers from so few prove nothing; read them as a check that everything runs."
        )
    seeds = len(results.summary["seeds"])
    if seeds < FEW_SEEDS:
        found.append(
            f"Only {plural(seeds, 'seed')}: how much chance in training moves the scores is hardly known. "
            "Use five or more for a claim."
        )
    return list(dict.fromkeys(found))


def difference_words(difference: Difference) -> str:
    """A difference with its interval and corrected p value."""
    p = p_value(difference.p_holm)
    if math.isnan(difference.low):
        return f"{signed(difference.value)} (no interval can be given)"
    return (
        f"{signed(difference.value)} (95 % interval {signed(difference.low)} to {signed(difference.high)}, "
        f"Holm-corrected p {p if p.startswith('<') else '= ' + p})"
    )


def _sentence(text: str) -> str:
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def _lower_is_better(results: StudyResults) -> bool:
    return metric_words(results.summary["metric"]).lower_is_better


def _first_place(results: StudyResults, top: LeaderboardRow, variants: int) -> Markup:
    interval = (
        f"95 % interval {number(top.low)} to {number(top.high)}"
        if not math.isnan(top.low)
        else "no interval can be given"
    )
    measured = (
        f"{number(top.mean)} ({interval}), the mean of "
        f"{plural(top.n_seeds, 'seed')} on {plural(top.n_test, 'test patch', 'test patches')} from "
        f"{plural(top.n_scenes, 'scene')}."
    )
    title = metric_words(results.summary["metric"]).title
    if variants == 1:
        return Markup("<strong>{}</strong> reaches a {} of {}").format(top.variant, title, measured)
    place = "lowest" if _lower_is_better(results) else "highest"
    return Markup("Of {} variants, <strong>{}</strong> ranks first with the {} {}: {}").format(
        variants, top.variant, place, title, measured
    )


def _baseline_first(top: LeaderboardRow, others: list[LeaderboardRow], *, lower_is_better: bool) -> Markup:
    compared = [row for row in others if row.difference is not None]
    if not others:
        return Markup("It is the only variant; nothing was compared.")
    if not compared:
        return Markup("It is the baseline; no paired comparisons were made.")
    return Markup("It is the baseline itself. {}").format(_others(compared, lower_is_better=lower_is_better))


def _difference(results: StudyResults, top: LeaderboardRow) -> Markup:
    baseline = results.summary["baseline"]
    if top.difference is None:
        return Markup("It was not compared with the baseline <strong>{}</strong>.").format(baseline)
    words = difference_words(top.difference)
    if top.difference.distinguishable:
        return Markup("Its difference to the baseline <strong>{}</strong>, {}, is distinguishable from zero.").format(
            baseline, words
        )
    return Markup(
        "Its difference to the baseline <strong>{}</strong>, {}, is <strong>not distinguishable</strong> from zero: "
        "these data do not show that it is better."
    ).format(baseline, words)


def _others(rows: list[LeaderboardRow], *, lower_is_better: bool) -> Markup:
    better, worse, open_question = [], [], []
    for row in rows:
        if row.difference is None or not row.difference.distinguishable:
            open_question.append(row.variant)
        elif (row.difference.value > 0) != lower_is_better:
            better.append(row.variant)
        else:
            worse.append(row.variant)
    parts = []
    for names, words in (
        (better, "distinguishably better than the baseline"),
        (worse, "distinguishably worse than the baseline"),
        (open_question, "not distinguishable from the baseline"),
    ):
        if names:
            who = listing(names) if len(names) <= MOST_NAMES else f"{len(names)} variants"
            parts.append(f"{who} {'is' if len(names) == 1 else 'are'} {words}")
    return Markup("Of the others, {}.").format("; ".join(parts))


def _controls(top: LeaderboardRow, controls: list[LeaderboardRow], *, lower_is_better: bool) -> list[Markup]:
    if not controls:
        return []
    sentences = [Markup("For comparison, {}.").format(listing(_control_scores(controls)))]
    unbeaten = [row for row in controls if (row.mean <= top.mean if lower_is_better else row.mean >= top.mean)]
    if unbeaten:
        names = listing([row.variant for row in unbeaten])
        sentences.append(
            Markup(
                "<strong>The best variant does not beat {}</strong>: training its encoder gained nothing here."
            ).format(names)
        )
    return sentences


def _control_scores(controls: list[LeaderboardRow]) -> list[str]:
    """What each kind of control reaches; of several random encoders, the best (they come best first)."""
    scores = []
    random = [row for row in controls if row.role == "frozen_random"]
    if random:
        who = f"the best of {len(random)} random encoders" if len(random) > 1 else "a random encoder"
        scores.append(f"{who} that {'are' if len(random) > 1 else 'is'} never trained reaches {number(random[0].mean)}")
    for row in controls:
        if row.role == "constant":
            scores.append(f"always giving the same answer reaches {number(row.mean)}")
    return scores
