"""A kind of another package, with evidence and totals of its own, keeps the contract of all kinds."""

import pytest
import test_every_kind_and_metric as contract

CHECKS = (
    contract.test_a_kind_is_whole,
    contract.test_its_evidence_has_the_shapes_that_it_names_and_survives_a_table,
    contract.test_its_head_is_built_and_its_predictions_are_columns,
    contract.test_metrics_of_perfect_predictions_are_perfect,
    contract.test_metrics_lie_within_their_bounds_and_differ_from_perfect,
    contract.test_weights_are_repetitions,
)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_it_keeps_the_contract(plugin, check):
    check("ordinal")
