"""The explorer of a study: variants, seeds and every kind of target, without training anything."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from fake_store import FakeStore
from fake_study import VARIANTS, write_study

import eofuse
from eofuse.data.store import Store
from eofuse.errors import UsageError
from eofuse.explorer.columns import Column
from eofuse.explorer.make import explore
from eofuse.explorer.predictions import ERROR, prediction_sets
from eofuse.kinds import KINDS
from eofuse.studies.results import read_results
from eofuse.tasks import TASKS

OWN = [name for name in KINDS if TASKS.package_of(name) == "eofuse"]
SMALL: dict[str, Any] = {"n_test": 24, "variants": VARIANTS[:2]}


def column(found: Any, name: str) -> Column:
    return next(each for each in found.summary.columns if each.name == name)


@pytest.mark.parametrize("kind", OWN)
def test_every_kind_has_an_error_for_each_patch_and_seed(kind: str, tmp_path: Path) -> None:
    results = read_results(write_study(tmp_path / "study", kind, **SMALL))
    sets = list(prediction_sets(results, ["s2", "s1"], results.summary["classes"]))
    assert [(each.variant, each.seed) for each in sets] == [(v, s) for v in ("s2", "s1") for s in (None, 0, 1)]
    for each in sets:
        assert len(each.rows) == len(set(each.rows.tolist())) == 24
        assert all(len(found.ends if found.ends is not None else found.values) == 24 for found in each.summary.columns)
        assert np.isfinite(each.errors).all()
        assert (each.errors >= 0).all()


def test_several_seeds_are_judged_by_their_mean_probability(tmp_path: Path) -> None:
    results = read_results(write_study(tmp_path / "study", "single_label", **SMALL))
    both, first, second = list(prediction_sets(results, ["s2"], results.summary["classes"]))
    np.testing.assert_allclose(both.errors, (first.errors + second.errors) / 2, atol=1e-6)
    wrong = column(first, "predicted").values != column(first, "true").values
    assert (column(first, "right or wrong").values == wrong).all()


def test_right_pixels_and_wrong_ones_are_all(tmp_path: Path) -> None:
    results = read_results(write_study(tmp_path / "study", "segmentation", **SMALL))
    sets = {each.seed: each for each in prediction_sets(results, ["s2"], results.summary["classes"])}
    confusion = results.evidence(results.predictions[results.predictions["variant"] == "s2"])["confusion"]
    rights = np.trace(np.asarray(confusion), axis1=1, axis2=2) / np.asarray(confusion).sum(axis=(1, 2))
    seeds = results.predictions.loc[results.predictions["variant"] == "s2", "seed"].to_numpy()
    np.testing.assert_allclose(1 - column(sets[0], ERROR).values, rights[seeds == 0])


def test_a_study_has_a_page_with_all_variants_and_targets(tmp_path: Path) -> None:
    kinds = ("single_label", "segmentation", "detection")
    folder = write_study(tmp_path / "study", kinds=kinds, **SMALL)
    (folder / "study.yaml").write_text("name: demo")
    ids = read_results(folder).predictions.drop_duplicates("patch_id")["patch_id"].tolist()
    store = cast(Store, FakeStore(ids))
    page = tmp_path / "study.html"
    done = explore(folder, page, store=store, features="bands")
    assert done.patches == 24
    text = page.read_text(encoding="utf-8")
    assert text.count('"variant":"s2"') == text.count('"variant":"s1"') == 3 * len(kinds)
    done = explore(folder, page, store=store, features="bands", variant="s1", seed=1, target="worldcover")
    text = page.read_text(encoding="utf-8")
    assert text.count('"variant":"s1"') == 1
    assert '"variant":"s2"' not in text
    with pytest.raises(UsageError, match="no variant"):
        eofuse.explore(folder, page, store=store, variant="s3")
