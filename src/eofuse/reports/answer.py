"""The answer of a study in plain sentences, and what a reader must be warned of; every number comes from the tables."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from eofuse.data.scenes import Scenes
from eofuse.reports.cautions import caution_sentences
from eofuse.reports.tables import Difference, LeaderboardRow, differences, leaderboard_rows, words
from eofuse.reports.wording import MetricWords, listing, p_value
from eofuse.studies.results import StudyResults
from eofuse.words import counted

FEW_PATCHES = 100
FEW_SCENES = 10
FEW_SEEDS = 3
MOST_NAMES = 3

TREES = ("random_forest", "gradient_boosting")
"""Roles of the controls that learn from the inputs, without a network."""

CONTROL_WORDS = {
    "random_forest": "a random forest",
    "gradient_boosting": "gradient boosting",
    "random_twin": "the same network with random weights",
    "frozen_random": "a random encoder that is never trained",
    "per_pixel": "a linear model on each pixel's bands alone",
    "constant": "always giving the same answer",
}
"""How a control is called in a sentence, by role."""

OWN_TWIN = "its own encoders, frozen at random weights"
"""How the control of the first variant is called, beside those of the others."""

CONTROL_PLURALS = {
    "random_forest": "random forests",
    "gradient_boosting": "models of gradient boosting",
    "random_twin": "networks with random weights",
    "frozen_random": "random encoders that are never trained",
    "per_pixel": "linear models on each pixel's bands alone",
    "constant": "constant answers",
}
"""How several controls of a role are called."""


def answer(results: StudyResults) -> Markup:
    """The answer in one paragraph: who ranks first, whether that differs from the baseline distinguishably, and the controls.

    A difference counts as distinguishable if its 95 % interval excludes zero and its Holm-corrected p is below 0.05.
    """
    rows = leaderboard_rows(results)
    variants = [row for row in rows if row.role == "variant"]
    controls = [row for row in rows if row.role != "variant"]
    if not variants:
        return Markup("The study holds no scores of variants.")
    top = variants[0]
    metric = words(results, results.summary["metric"])
    sentences = [_first_place(top, len(variants), metric, tested_scenes(results, top.n_scenes))]
    if top.is_baseline:
        sentences.append(_baseline_first(variants[1:], metric))
    else:
        sentences.append(_difference(results, top, metric))
        others = [row for row in variants if row is not top and not row.is_baseline and row.difference is not None]
        if others:
            sentences.append(_others(others, metric))
    sentences.extend(_controls(results, top, controls, metric))
    return Markup(" ").join(sentences)


def cautions(results: StudyResults) -> list[str]:
    """Warnings: those of the study itself, what its size forbids to conclude, and what speaks against its runs."""
    found = [_sentence(str(warning)) for warning in results.summary["warnings"]]
    patches = int(results.summary["patches"].get("test", 0))
    scenes = tested_scenes(results)
    is_said = any("prove nothing" in warning for warning in found)
    if not is_said and (patches < FEW_PATCHES or (not scenes.unknown and scenes.units < FEW_SCENES)):
        found.append(
            f"The test set is small: {counted(patches, 'patch', 'patches')} from {scenes.words}. "
            "Numbers from so few prove nothing; read them as a check that everything runs."
        )
    seeds = len(results.summary["seeds"])
    if seeds < FEW_SEEDS:
        found.append(
            f"Only {counted(seeds, 'seed')}: how much chance in training moves the scores is hardly known. "
            "Use five or more for a claim."
        )
    return list(dict.fromkeys([*found, *caution_sentences(results)]))


def part_scenes(results: StudyResults, part: str) -> Scenes:
    """The scenes of a part, as far as they are known; of studies made before, as many as they counted."""
    facts = {key: int(results.summary[key].get(part, 0)) for key in ("patches", "scenes")}
    return Scenes(**results.summary.get("known_scenes", {}).get(part, facts))


def tested_scenes(results: StudyResults, drawn: int | None = None) -> Scenes:
    """The scenes of the test patches, as far as they are known.

    Args:
        results: of the study.
        drawn: how many scenes and patches by themselves the intervals go over, over all folds; those of one fold by default.
    """
    found = part_scenes(results, "test")
    if drawn is None or drawn == found.units:
        return found
    if found.unknown and not found.scenes + found.blocks:
        return Scenes(drawn, 0, 0, drawn)
    return Scenes(found.patches, 0, drawn) if found.blocks and not found.scenes else Scenes(found.patches, drawn)


def difference_words(difference: Difference, metric: MetricWords) -> str:
    """A difference with its interval and corrected p value."""
    value = f"{metric.signed(difference.value)} {metric.unit}".rstrip()
    if math.isnan(difference.low):
        return f"{value} (no interval can be given)"
    p = p_value(difference.p_holm)
    return (
        f"{value} (95 % interval {metric.signed_interval(difference.low, difference.high)}, "
        f"Holm-corrected p {p if p.startswith('<') else '= ' + p})"
    )


def _sentence(text: str) -> str:
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def _first_place(top: LeaderboardRow, variants: int, metric: MetricWords, scenes: Scenes) -> Markup:
    interval = (
        f"95 % interval {metric.interval(top.low, top.high)}" if not math.isnan(top.low) else "no interval can be given"
    )
    measured = (
        f"{metric.quantity(top.mean)} ({interval}), the mean of "
        f"{counted(top.n_seeds, 'seed')} on {counted(top.n_test, 'test patch', 'test patches')} from "
        f"{scenes.words}."
    )
    if variants == 1:
        article = "an" if metric.title[0] in "aRM" else "a"
        return Markup("<strong>{}</strong> reaches {} {} of {}").format(top.variant, article, metric.title, measured)
    place = "lowest" if metric.lower_is_better else "highest"
    return Markup("Of {} variants, <strong>{}</strong> ranks first with the {} {}: {}").format(
        variants, top.variant, place, metric.title, measured
    )


def _baseline_first(others: list[LeaderboardRow], metric: MetricWords) -> Markup:
    compared = [row for row in others if row.difference is not None]
    if not others:
        return Markup("It is the only variant; nothing was compared.")
    if not compared:
        return Markup("It is the baseline; no paired comparisons were made.")
    return Markup("It is the baseline itself. {}").format(_others(compared, metric))


def _difference(results: StudyResults, top: LeaderboardRow, metric: MetricWords) -> Markup:
    baseline = results.summary["baseline"]
    if top.difference is None:
        return Markup("It was not compared with the baseline <strong>{}</strong>.").format(baseline)
    change = difference_words(top.difference, metric)
    if top.difference.distinguishable:
        return Markup("Its difference to the baseline <strong>{}</strong>, {}, is distinguishable from zero.").format(
            baseline, change
        )
    return Markup(
        "Its difference to the baseline <strong>{}</strong>, {}, is <strong>not distinguishable</strong> from zero: "
        "these data do not show that it is better."
    ).format(baseline, change)


def _others(rows: list[LeaderboardRow], metric: MetricWords) -> Markup:
    better, worse, open_question = [], [], []
    for row in rows:
        if row.difference is None or not row.difference.distinguishable:
            open_question.append(row.variant)
        elif row.difference.is_better(metric):
            better.append(row.variant)
        else:
            worse.append(row.variant)
    parts = []
    for names, phrase in (
        (better, "distinguishably better than the baseline"),
        (worse, "distinguishably worse than the baseline"),
        (open_question, "not distinguishable from the baseline"),
    ):
        if names:
            who = listing(names) if len(names) <= MOST_NAMES else f"{len(names)} variants"
            parts.append(f"{who} {'is' if len(names) == 1 else 'are'} {phrase}")
    return Markup("Of the others, {}.").format("; ".join(parts))


def _controls(
    results: StudyResults, top: LeaderboardRow, controls: list[LeaderboardRow], metric: MetricWords
) -> list[Markup]:
    if not controls:
        return []
    by_role = {role: found for role in CONTROL_WORDS if (found := [row for row in controls if row.role == role])}
    scores = [  # of several of a kind, the best: they come best first
        f"{'the best of ' * (len(rows) > 1)}{_called(role, len(rows))} reaches {metric.quantity(rows[0].mean)}"
        for role, rows in by_role.items()
    ]
    sentences = [Markup("For comparison, {}.").format(listing(scores))]
    sentences.extend(_gains(results, top, by_role, metric))
    unbeaten = [row for row in controls if (row.mean <= top.mean if metric.lower_is_better else row.mean >= top.mean)]
    if unbeaten:
        counts = Counter(row.role for row in unbeaten)
        kinds = [_called(role, counts[role]) for role in CONTROL_WORDS if role in counts]
        names = listing([row.variant for row in unbeaten] if len(unbeaten) <= MOST_NAMES else kinds)
        own = any(
            row.role == "frozen_random" and top.variant in differences(results, metric.name, row.variant)
            for row in unbeaten
        )
        meaning = ": training its encoder gained nothing here" if own else ""
        if any(
            row.role == "random_twin" and top.variant in differences(results, metric.name, row.variant)
            for row in unbeaten
        ):
            meaning = ": its published weights gained nothing here"
        sentences.append(Markup("<strong>The best variant does not beat {}</strong>{}.").format(names, meaning))
    return sentences


def _called(role: str, number: int) -> str:
    """So many controls of a role, in words."""
    return CONTROL_WORDS[role] if number == 1 else f"{number} {CONTROL_PLURALS[role]}"


def _gains(
    results: StudyResults, top: LeaderboardRow, by_role: Mapping[str, Sequence[LeaderboardRow]], metric: MetricWords
) -> list[Markup]:
    """By how much the first-ranked variant beats the best control of each kind that it was compared with."""
    sentences = []
    for role, rows in by_role.items():
        found = (differences(results, metric.name, row.variant).get(top.variant) for row in rows)
        gain = next((each for each in found if each is not None), None)
        if gain is None:
            continue
        verdict = Markup("<strong>not distinguishable</strong>")
        if gain.distinguishable:
            better = gain.is_better(metric)
            verdict = Markup("distinguishably better" if better else "<strong>distinguishably worse</strong>")
        against = OWN_TWIN if role == "frozen_random" else CONTROL_WORDS[role]
        against += " on the same inputs" if role in TREES else ""
        change = difference_words(gain, metric)
        sentences.append(Markup("Against {}, {} differs by {}: {}.").format(against, top.variant, change, verdict))
    return sentences
