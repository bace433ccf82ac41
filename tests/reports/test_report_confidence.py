"""Reliability and coverage in the report are those of the predictions."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from fake_evidence import TEMPERATURE
from fake_study import VARIANTS, write_study

from eofuse.evaluation.calibration import label_reliability, scale
from eofuse.kinds import KINDS
from eofuse.reports.confidence import intervals, reliability
from eofuse.reports.wording import number
from eofuse.studies.results import StudyResults, read_results
from scoring import calibration_metrics

NAMES = [variant[0] for variant in VARIANTS[:2]]


def study(folder: Path, kind: str) -> StudyResults:
    return read_results(write_study(folder / "study", kind, n_test=60, variants=VARIANTS[:2], seeds=(0,)))


@pytest.mark.parametrize("kind", ["single_label", "multi_label", "segmentation"])
def test_errors_are_those_of_the_evidence_before_and_after_calibration(tmp_path: Path, kind: str) -> None:
    results = study(tmp_path, kind)
    found = reliability(results, NAMES, NAMES)
    assert found is not None
    assert found.calibrated
    assert len(found.pictures) == 2
    rows = results.predictions[results.predictions["variant"] == "s2"]
    evidence = results.evidence(rows)
    table = evidence.get("reliability")
    if table is None:
        calibrated = scale(evidence["probabilities"].astype(float), TEMPERATURE, KINDS[kind])
        table = label_reliability(calibrated, evidence["truth"], TEMPERATURE, KINDS[kind])
    errors = calibration_metrics(table)
    assert (found.rows[0].raw, found.rows[0].calibrated) == (number(errors["ece_raw"]), number(errors["ece"]))
    assert found.rows[0].temperatures == "1.40"
    assert found.rows[0].calibrated_interval


def test_without_a_temperature_there_is_one_line_only(tmp_path: Path) -> None:
    results = study(tmp_path, "single_label")
    plain = dataclasses.replace(results, predictions=results.predictions.assign(temperature=1.0))
    found = reliability(plain, NAMES, NAMES)
    assert found is not None
    assert not found.calibrated
    assert found.rows[0].raw == found.rows[0].calibrated
    assert "before calibration" not in found.pictures[0].alt


def test_numbers_have_intervals_and_no_reliability(tmp_path: Path) -> None:
    results = study(tmp_path, "regression")
    assert reliability(results, NAMES, NAMES) is None
    rows = intervals(results, NAMES)
    board = results.leaderboard.set_index(["variant", "metric"])["mean"]
    assert [row.coverage for row in rows] == [f"{100 * board[name, 'coverage']:.1f} %" for name in NAMES]
    assert rows[0].width.endswith(" m")


def test_what_has_no_intervals_is_left_out(tmp_path: Path) -> None:
    results = study(tmp_path, "pixel_regression")
    board = results.leaderboard.copy()
    board.loc[(board["variant"] == "s2") & (board["metric"] == "coverage"), "mean"] = np.nan
    assert [row.variant for row in intervals(dataclasses.replace(results, leaderboard=board), NAMES)] == ["s1"]
    assert intervals(study(tmp_path / "other", "detection"), NAMES) == ()
