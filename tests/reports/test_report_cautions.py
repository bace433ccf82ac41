"""What speaks against the runs of a study is said, for each variant, and never far from a sentence on fewer labels."""

from dataclasses import replace

import pytest
from fake_efficiency import PRETRAINED, with_amounts
from fake_study import VARIANTS, write_study

from eofuse.reports.answer import cautions
from eofuse.reports.cautions import caution_sentences, training_findings
from eofuse.reports.label_efficiency import efficiency
from eofuse.studies.results import read_results

BASELINE = VARIANTS[0][0]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return read_results(with_amounts(write_study(tmp_path_factory.mktemp("cautions") / "study", n_test=60)))


def with_runs(results, **columns):
    """The study with other cells of some variants: name of a column → (variants, value of a row)."""
    cells = results.over_labels.cells.copy()
    for name, (variants, value) in columns.items():
        chosen = cells["variant"].isin(variants) & (cells["role"] == "final")
        cells.loc[chosen, name] = cells[chosen].apply(value, axis=1)
    return replace(results, over_labels=replace(results.over_labels, cells=cells))


def unfinished(results, *variants):
    return with_runs(results, best_step=(variants, lambda row: row["steps"]))


def kinds(results, variant):
    return {each.kind for each in training_findings(results) if each.variant == variant}


def test_variants_whose_best_step_is_the_last_are_named_once(results):
    sentence = next(text for text in cautions(unfinished(results, BASELINE)) if "Still improving" in text)
    assert BASELINE in sentence
    assert sentence.count(f"{BASELINE} (") == 1
    seeds = len(results.summary["seeds"])
    assert f"{seeds} of {seeds} runs" in sentence


def test_many_variants_are_counted(results):
    names = [name for name, *_ in VARIANTS]
    every = unfinished(results, *names)
    found = [text for text in caution_sentences(every) if text.startswith("Still improving")]
    assert len(found) == 1
    assert f"{len(names)} of {len(names)} variants" in found[0]


def test_labels_that_were_hardly_seen_are_cautioned_with_the_amount_that_has_them(results):
    short = with_runs(results, steps=([PRETRAINED], lambda row: 30), best_step=([PRETRAINED], lambda row: 20))
    amounts = {each.labels for each in training_findings(short) if each.kind == "few_passes"}
    assert max(results.amounts) in amounts
    assert min(results.amounts) not in amounts  # the same steps show few labels often enough


def test_a_sentence_on_fewer_labels_is_not_made_from_unfinished_runs_without_saying_so(results):
    palette = [name for name, *_ in VARIANTS]
    answer = str(efficiency(unfinished(results, BASELINE), palette).answer)
    assert "matches it with 48 labels" in answer
    assert f"But runs of {BASELINE}" in answer
    assert "still improving when training ended" in answer


def test_worse_calibration_and_intervals_without_width_are_said(results):
    board = results.leaderboard.copy()
    ranking = results.summary["metric"]
    own = board["variant"] == BASELINE
    board.loc[own & (board["metric"] == "ece_raw"), "mean"] = 0.06
    board.loc[own & (board["metric"] == "ece"), "mean"] = 0.24
    board.loc[own & (board["metric"] == ranking), ["low", "high"]] = 0.5
    found = caution_sentences(replace(results, leaderboard=board))
    assert any("0.060 → 0.240" in text for text in found)
    assert any("no width" in text and BASELINE in text for text in found)
