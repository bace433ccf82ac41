"""Errors say what, where and what to do, and survive the way between processes."""

import pickle

import pytest

from eofuse import errors
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


@pytest.mark.parametrize(
    "wrong",
    [
        "S2A_20170613_6_123456x",
        "S2B_20170613_6_123456",
        "2A_20170613_6_123456",
        "S2A_20170613_6_12346",
        "S2A_20170613_6_1234567",
    ],
)
def test_a_near_name_is_found_among_very_many_without_comparing_them_all(monkeypatch, wrong):
    names = [f"S2A_20170613_{number % 10}_{number}" for number in range(100_000, 160_000)]
    compared, whole = [], errors.difflib.get_close_matches
    monkeypatch.setattr(
        errors.difflib,
        "get_close_matches",
        lambda word, names, **options: compared.append(len(names)) or whole(word, names, **options),
    )
    assert did_you_mean(wrong, names).startswith("did you mean 'S2A_2017")
    assert compared[0] <= 400


def test_names_without_letters_are_none_to_choose():
    assert did_you_mean("crop", ["", " "]) == "there are no valid names here"
