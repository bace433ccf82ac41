"""Which patches are shown as best and worst."""

from pathlib import Path

import numpy as np
import pytest
from fake_evidence import TARGETS
from fake_study import VARIANTS, write_study

from eofuse.errors import DataError
from eofuse.evaluation.calibration import scale
from eofuse.kinds import SINGLE_LABEL
from eofuse.reports.examples import Chosen, choose_examples, score_threshold
from eofuse.reports.runs import first_seed, predicted_map, seed_means
from eofuse.reports.tables import leaderboard_rows
from eofuse.studies.results import StudyResults, read_results


def chosen(folder: Path, kind: str, most: int = 4, **options: object) -> tuple[StudyResults, str, Chosen]:
    results = read_results(write_study(folder / "study", kind, **({"n_test": 60} | options)))  # type: ignore[arg-type]
    variant = leaderboard_rows(results)[0].variant
    return results, variant, choose_examples(results, variant, most)


@pytest.mark.parametrize("kind", ["single_label", "multi_label"])
def test_right_are_right_and_wrong_are_wrong(tmp_path: Path, kind: str) -> None:
    _, _, found = chosen(tmp_path, kind, 3)
    assert len(found.best) == len(found.worst) == 3
    assert all(len(example.facts) == 1 for example in found.best)
    for example in found.worst:
        predicted, true = ({part.split(" (")[0] for part in words.split("; ")} - {"none"} for _, words in example.facts)
        assert predicted != true


def test_confidence_is_the_mean_over_seeds_and_falls(tmp_path: Path) -> None:
    results, variant, found = chosen(tmp_path, "single_label")
    for examples in (found.best, found.worst):
        assert [example.order for example in examples] == sorted((example.order for example in examples), reverse=True)
        assert len({int(example.prediction["truth"]) for example in examples}) == len(examples)
    rows = results.predictions[results.predictions["variant"] == variant]
    rows = rows[rows["patch_id"] == found.best[0].patch_id]
    assert len(rows) == 2
    raw = np.stack(list(rows["probabilities"])).astype(float)
    told = scale(raw, rows["temperature"].iloc[0], SINGLE_LABEL).mean(axis=0)
    assert found.best[0].order == pytest.approx(told.max())


def test_a_perfect_variant_has_no_wrong_patches(tmp_path: Path) -> None:
    assert chosen(tmp_path, "single_label", n_test=30, skill=60.0)[2].worst == ()


@pytest.mark.parametrize("kind", ["regression", "segmentation", "pixel_regression", "detection"])
def test_best_are_better_than_worst_and_none_is_both(tmp_path: Path, kind: str) -> None:
    _, _, found = chosen(tmp_path, kind)
    assert len(found.best) == len(found.worst) == 4
    assert min(example.order for example in found.best) > -min(example.order for example in found.worst)
    assert not {example.patch_id for example in found.best} & {example.patch_id for example in found.worst}


@pytest.mark.parametrize("kind", ["regression", "segmentation", "pixel_regression", "detection"])
def test_few_patches_are_shared_out(tmp_path: Path, kind: str) -> None:
    _, _, found = chosen(tmp_path, kind, n_test=5)
    assert 3 <= len(found.best) + len(found.worst) <= 5


def test_numbers_are_ordered_by_the_error_of_the_mean_over_seeds(tmp_path: Path) -> None:
    results, variant, found = chosen(tmp_path, "regression")
    patches, evidence = seed_means(results, variant, "prediction")
    errors = np.abs(evidence["prediction"] - evidence["truth"])[:, 0]
    assert found.worst[0].patch_id == patches["patch_id"].iloc[int(errors.argmax())]
    assert found.best[0].patch_id == patches["patch_id"].iloc[int(errors.argmin())]
    assert found.best[0].facts[0][0] == "mean elevation"
    assert " m (true " in found.best[0].facts[0][1]


def test_maps_are_those_of_the_patch(tmp_path: Path) -> None:
    results, variant, found = chosen(tmp_path, "segmentation")
    for example in found.best + found.worst:
        numbers = predicted_map(results, example.prediction)
        assert numbers is not None
        confusion = results.evidence(first_seed(results, variant))["confusion"][example.prediction["place"]]
        assert (np.bincount(numbers.ravel(), minlength=len(confusion)) == confusion.sum(axis=0)).all()


def test_a_patch_beyond_the_maps_that_were_kept_has_no_picture(tmp_path: Path) -> None:
    results, _, found = chosen(tmp_path, "segmentation", n_test=10, variants=VARIANTS[:1], seeds=(0,))
    path = next(results.folder.glob(f"cells/*/maps/{TARGETS['segmentation']}.npy"))
    np.save(path, np.load(path)[:0])
    assert predicted_map(results, found.best[0].prediction) is None


def test_damaged_maps_are_named(tmp_path: Path) -> None:
    results, _, found = chosen(tmp_path, "segmentation", n_test=10, variants=VARIANTS[:1], seeds=(0,))
    path = next(results.folder.glob(f"cells/*/maps/{TARGETS['segmentation']}.npy"))
    path.write_bytes(b"no map")
    with pytest.raises(DataError, match="is damaged"):
        predicted_map(results, found.best[0].prediction)


def test_weak_boxes_are_shown_only_if_there_are_not_enough_strong_ones() -> None:
    labels = np.array([[0, 0, 0, -1]])
    evidence = {"scores": np.array([[0.9, 0.8, 0.3, 0.0]]), "labels": labels, "counts": np.array([[2]])}
    assert score_threshold(evidence) == 0.5
    assert score_threshold(evidence | {"counts": np.array([[3]])}) == pytest.approx(0.3)
    assert score_threshold(evidence | {"labels": np.full((1, 4), -1)}) == 0.5
