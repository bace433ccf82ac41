"""Labels in an order of one's own: the first of a file's patches are labelled."""

import numpy as np
import pytest

from eofuse.data.splits.subsets import LabelOptions, first_in_order, label_subset, subset_size
from eofuse.data.targets import Target
from eofuse.errors import DataError, UsageError
from eofuse.kinds import SINGLE_LABEL

IDS = np.array([f"p{row}" for row in range(20)])
TRAINING = np.arange(10, 20)


def order(tmp_path, *ids):
    file = tmp_path / "order.csv"
    file.write_text("\n".join(["patch_id,picked", *(f"{identifier},0" for identifier in ids)]))
    return str(file)


def test_the_first_of_the_order_are_labelled_and_larger_amounts_hold_smaller_ones(tmp_path):
    file = order(tmp_path, *reversed(IDS[10:]))
    few, more = (first_in_order(IDS, TRAINING, LabelOptions(amount=amount, order=file)) for amount in (0.2, 0.5))
    assert few.tolist() == [18, 19]
    assert more.tolist() == [15, 16, 17, 18, 19]


def test_patches_of_other_parts_and_repetitions_do_not_count(tmp_path):
    file = order(tmp_path, "p3", "p12", "p12", "elsewhere", "p11")
    assert first_in_order(IDS, TRAINING, LabelOptions(amount=0.2, order=file)).tolist() == [11, 12]


@pytest.mark.parametrize("fraction", [0.01, 0.15, 0.33, 1.0])
def test_a_fraction_comes_to_as_many_labels_as_a_draw_of_it(fraction, tmp_path):
    rows = np.arange(20)
    target = Target("zone", SINGLE_LABEL, ("a", "b"), np.ones(20, dtype=bool), values=rows % 2)
    drawn = label_subset([target], np.full(20, "scene"), rows, LabelOptions(amount=fraction))
    assert len(drawn) == subset_size(fraction, 20)
    options = LabelOptions(amount=fraction, order=order(tmp_path, *IDS))
    assert len(first_in_order(IDS, rows, options)) == len(drawn)


def test_an_order_that_is_too_short_is_refused(tmp_path):
    with pytest.raises(DataError, match="names 1 of the training patches with a label, and 5 are to be labelled"):
        first_in_order(IDS, TRAINING, LabelOptions(amount=0.5, order=order(tmp_path, "p12")))


def test_an_order_has_no_number_a_class(tmp_path):
    with pytest.raises(UsageError, match="give a fraction"):
        first_in_order(IDS, TRAINING, LabelOptions(amount=5, order=order(tmp_path, "p12")))


@pytest.mark.parametrize("content", [None, "name\np1\n", ""])
def test_a_file_without_patch_ids_is_refused(tmp_path, content):
    file = tmp_path / "order.csv"
    if content is not None:
        file.write_text(content)
    with pytest.raises(UsageError, match="a CSV file with a column patch_id"):
        first_in_order(IDS, TRAINING, LabelOptions(amount=0.5, order=str(file)))
