"""What the report says of absent modalities: only where the study asked, and with the numbers of the tables."""

import pandas as pd
import pytest
from fake_study import LABELS, VARIANTS, write_study

from eofuse.reports.html import write_report
from eofuse.reports.missing import remains, worth, write_run_pictures
from eofuse.studies.results import COLUMNS, read_results
from undrawn import undraw

RANKED = [name for name, *_ in VARIANTS]
FUSED = ("early: s2 + s1", "late, separate: s2 + s1")


def asked(folder, task_kind="single_label", metric="macro_f1", target="climate_zone"):
    """A study folder with tables of what remains and what modalities are worth."""
    counts = {"n_seeds": 2, "n_test": 60, "n_scenes": 24, "n_labels": LABELS, "target": target, "metric": metric}
    without, attribution = [], []
    for number, variant in enumerate(FUSED):
        named = {"variant": variant, "saw_gaps": bool(number), **counts}
        for place, name in enumerate(("s2", "s1")):
            gone = {"mean": 0.41 - 0.1 * place, "seed_sd": 0.01, "low": 0.3, "high": 0.5, "difference": -0.2}
            gone |= {"difference_low": -0.3, "difference_high": -0.1, "p": 0.001, "p_holm": 0.004}
            without.append({**named, "without": name, **gone})
            base = {"name": name, "whole": 0.612, "constant": 0.112, "low": 0.1, "high": 0.4}
            for kind, spread in (("shapley", 0.0), ("drop_one", float("nan"))):
                attribution.append({**named, **base, "kind": kind, "value": 0.251, "spread": spread})
    for name, rows in (("without", without), ("attribution", attribution)):
        pd.DataFrame(rows)[list(COLUMNS[name])].to_parquet(folder / f"{name}.parquet")
    return read_results(folder)


@pytest.fixture(scope="module", autouse=True)
def undrawn():
    with pytest.MonkeyPatch.context() as monkeypatch:
        undraw(monkeypatch)
        yield


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = write_study(tmp_path_factory.mktemp("absence") / "study", n_test=60)
    target = read_results(folder).summary["target"]
    return asked(folder, target=target)


@pytest.fixture(scope="module")
def page(results):
    return write_report(results, None, results.folder / "report.html").read_text(encoding="utf-8")


def test_a_study_that_did_not_ask_says_nothing(tmp_path):
    results = read_results(write_study(tmp_path / "study", n_test=60))
    assert remains(results, RANKED, RANKED) is None
    assert worth(results, RANKED) is None
    assert "sensor is away" not in write_report(results, None, tmp_path / "report.html").read_text()


def test_what_remains_stands_beside_the_whole(results):
    found = remains(results, RANKED, RANKED)
    board = results.leaderboard[results.leaderboard["metric"] == "macro_f1"].set_index("variant")["mean"]
    assert [row.shown.without for row in found.rows] == ["s2", "s2", "s1", "s1"]
    assert all(row.shown.whole == board[row.shown.variant] for row in found.rows)
    assert all(row.difference.distinguishable for row in found.rows)


def test_each_variant_has_its_modalities_with_both_questions(results):
    found = worth(results, RANKED)
    assert [(row.variant, row.name) for row in found.rows] == [(name, of) for name in FUSED for of in ("s2", "s1")]
    assert {(row.shapley.kind, row.drop_one.kind) for row in found.rows} == {("shapley", "drop_one")}
    assert not found.drawn
    assert found.gains == tuple((name, 0.112, 0.612) for name in FUSED)


def test_the_page_has_both_with_pictures_and_says_what_limits_them(page):
    assert 'href="#missing"' in page
    section = page.split('<section id="missing">')[1].split("</section>")[0]
    assert section.count("<picture>") == 2
    assert "never saw gaps" in section
    assert "from 0.112 to 0.612" in section
    assert "guesses" in section
    assert "−0.200" in section
    assert "+0.251" in section
    assert "Error from drawing orders" not in section


def test_a_run_gets_one_picture_with_every_question(tmp_path):
    lines = [("shapley", "s1"), ("drop_one", "s1"), ("permutation", "season"), ("band", "s1.VV"), ("band", "s1.VH")]
    rows = [
        {
            "target": "moisture",
            "kind": kind,
            "name": name,
            "metric": "rmse",
            "value": 3.0,
            "low": 1.0,
            "high": 5.0,
            "unit": "%",
        }
        for kind, name in lines
    ]
    facts = {"moisture": {"kind": "regression", "metric": "rmse", "whole": {"rmse": 24.0}, "constant": {"rmse": 33.0}}}
    (path,) = write_run_pictures(pd.DataFrame(rows), facts, tmp_path)
    assert path.name == "attribution.png"
    assert path.stat().st_size > 10_000
