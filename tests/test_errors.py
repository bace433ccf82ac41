"""Errors say what, where and what to do, and survive the way between processes."""

import pickle

import pytest

from eofuse.errors import DataError, EofuseError, UsageError, did_you_mean


def test_an_error_reads_place_problem_advice():
    assert (
        str(DataError("is truncated", where="B02.tif", fix="fetch it again")) == "B02.tif: is truncated; fetch it again"
    )


@pytest.mark.parametrize("kind", [EofuseError, DataError, UsageError])
def test_an_error_can_be_sent_between_processes(kind):
    error = pickle.loads(pickle.dumps(kind("is truncated", where="B02.tif", fix="fetch it again")))
    assert type(error) is kind
    assert str(error) == "B02.tif: is truncated; fetch it again"


def test_misuse_and_bad_data_have_their_own_exit_codes():
    assert (UsageError.exit_code, DataError.exit_code) == (2, 1)


def test_the_nearest_name_is_suggested():
    assert did_you_mean("stratgy", ["strategy", "stage"]) == "did you mean 'strategy'?"


def test_far_from_every_name_all_are_listed():
    assert did_you_mean("x", ["strategy", "stage"]) == "valid: stage, strategy"
