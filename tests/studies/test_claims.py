"""Claims: one process at a time is at work on a folder, on whatever machine, and the dead hold nothing."""

import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import pytest

from eofuse.errors import UsageError
from eofuse.studies import claims
from eofuse.studies.claims import claimed, is_held_by, remove_claims
from forked import forked, kill_when


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(claims, "BEAT_S", 0.05)
    monkeypatch.setattr(claims, "LOST_S", 0.4)
    monkeypatch.setattr(claims, "PAUSE_S", 0.005)


def claim_file(path):
    return path.with_name(f".{path.name}.claim")


def claim_from_elsewhere(path, token="theirs"):
    words = {"process": 7, "host": "node-7", "machine": "node-7", "since": "2026-01-01 00:00:00", "token": token}
    claim_file(path).write_text(json.dumps(words))


def test_a_second_one_is_told_who_holds_it(tmp_path):
    with (
        claimed(tmp_path / "cell"),
        pytest.raises(UsageError, match=rf"another process is at work on it: process {os.getpid()} on "),
        claimed(tmp_path / "cell"),
    ):
        pass
    assert not claim_file(tmp_path / "cell").exists()


def test_a_claim_is_given_back_when_its_block_raises(tmp_path):
    with suppress(ZeroDivisionError), claimed(tmp_path / "cell"):
        raise ZeroDivisionError
    with claimed(tmp_path / "cell"):
        pass


def test_the_claim_of_a_process_that_was_killed_here_is_taken_over_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(claims, "LOST_S", 1000)

    def hold():
        with claimed(tmp_path / "cell"):
            time.sleep(60)

    kill_when(forked(hold), claim_file(tmp_path / "cell").exists)
    with claimed(tmp_path / "cell") as claim:
        assert claim.is_held()


def test_one_from_another_machine_is_respected_while_it_is_touched_and_taken_over_when_it_is_not(tmp_path):
    path = tmp_path / "cell"
    claim_from_elsewhere(path)
    over = threading.Event()

    def touch():
        while not over.wait(0.05):
            os.utime(claim_file(path))

    said = []
    with ThreadPoolExecutor(1) as other:
        touching = other.submit(touch)
        with pytest.raises(UsageError, match="process 7 on node-7"), claimed(path, waiting=said.append):
            pass
        over.set()
        touching.result()
    assert ["process 7 on node-7" in words for words in said] == [True]
    with claimed(path) as claim:
        assert is_held_by(path, claim.token)


@pytest.mark.parametrize("text", ["[" * 4096, json.dumps({"host": "x" * 5000})], ids=["no JSON", "long"])
def test_a_damaged_claim_is_taken_over_and_said_to_be_waited_for(tmp_path, monkeypatch, text):
    monkeypatch.setattr(claims, "NAMING_S", 0.1)
    claim_file(tmp_path / "cell").write_text(text)
    said = []
    with claimed(tmp_path / "cell", waiting=said.append) as claim:
        assert claim.is_held()
    assert said == ["looking for 0 s whether this one lives"]


def test_who_lost_a_claim_to_another_leaves(tmp_path):
    left = threading.Event()
    with claimed(tmp_path / "cell", leave=left.set):
        claim_from_elsewhere(tmp_path / "cell")
        assert left.wait(5)
    assert is_held_by(tmp_path / "cell", "theirs")  # theirs stays


def test_of_many_who_want_it_one_has_it_at_a_time_even_if_some_die(tmp_path):
    inside, most, done = [], [], []

    def want(number):
        for _ in range(3):
            with claimed(tmp_path / "cell", patience_s=60):
                inside.append(number)
                most.append(len(inside))
                time.sleep(0.002)
                inside.remove(number)
                done.append(number)
                if number == 0:  # dies: its claim stays, and nobody touches it
                    claim_from_elsewhere(tmp_path / "cell")

    with ThreadPoolExecutor(6) as people:
        for each in [people.submit(want, number) for number in range(6)]:
            each.result()
    assert max(most) == 1
    assert len(done) == 18


def test_claims_that_were_left_are_removed_at_the_end(tmp_path):
    with ExitStack() as held:
        for name in "ab":
            held.enter_context(claimed(tmp_path / name))
        remove_claims(tmp_path)
        assert not list(tmp_path.iterdir())
