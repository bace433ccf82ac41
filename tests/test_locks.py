"""One writer at a time."""

import os
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import eofuse
from eofuse.cli import main
from eofuse.errors import UsageError
from eofuse.locks import HeldError, reading, remove_locks, writing

HOLD = """
import sys, time
from pathlib import Path
from eofuse.locks import {way}
with {way}(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(request, tmp_path):
    """A process that holds `tmp_path / 'a.store'` by the way that is asked for."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD.format(way=request.param), str(tmp_path / "a.store")], stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.mark.parametrize("holder", ["writing"], indirect=True)
@pytest.mark.parametrize("way", [writing, reading])
def test_a_second_process_hears_who_holds_it(holder, way, tmp_path):
    with pytest.raises(UsageError) as error, way(tmp_path / "a.store"):
        pass
    assert error.value.where == str(tmp_path / "a.store")
    assert re.search(rf"process {holder.pid} on .+, since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d", error.value.what)


@pytest.mark.parametrize("holder", ["reading"], indirect=True)
def test_readers_share_and_keep_writers_away(holder, tmp_path):
    with reading(tmp_path / "a.store"):
        pass
    with pytest.raises(UsageError, match="another process"), writing(tmp_path / "a.store"):
        pass


@pytest.mark.parametrize("holder", ["writing", "reading"], indirect=True)
def test_a_dead_process_holds_nothing_and_nothing_is_left_over(holder, tmp_path):
    holder.kill()
    holder.wait()
    with writing(tmp_path / "a.store"):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("holder", ["writing"], indirect=True)
def test_locks_of_dead_processes_can_be_removed_and_others_stay(holder, tmp_path):
    (tmp_path / "cells").mkdir()
    for name in (".b.lock", "cells/.c.lock"):
        (tmp_path / name).touch()
    remove_locks(tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == [".a.store.lock", "cells"]


def test_a_holder_that_writes_its_name_at_this_moment_is_named(tmp_path, monkeypatch):
    write = os.write

    def slowly(descriptor: int, content: bytes) -> int:
        begun.set()
        time.sleep(0.1)
        return write(descriptor, content)

    def hold() -> None:
        with writing(tmp_path / "a.store"):
            done.wait()

    begun, done = threading.Event(), threading.Event()
    monkeypatch.setattr(os, "write", slowly)
    thread = threading.Thread(target=hold)
    thread.start()
    begun.wait()
    try:
        with pytest.raises(UsageError, match=f"process {os.getpid()} on"), writing(tmp_path / "a.store"):
            pass
    finally:
        done.set()
        thread.join()


def test_a_block_within_may_hold_it_again_by_any_name(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "a.store")
    with writing(tmp_path / "a.store"):
        with writing(tmp_path / "link"), reading(tmp_path / "sub" / ".." / "a.store"):
            pass
        assert (tmp_path / ".a.store.lock").exists()
    assert not (tmp_path / ".a.store.lock").exists()


def test_what_is_read_can_also_be_written_only_if_nobody_else_reads_it(tmp_path):
    with reading(tmp_path / "a.store"), pytest.raises(UsageError), writing(tmp_path / "a.store"):
        pass


def test_another_thread_is_another_writer(tmp_path):
    refused = []

    def second() -> None:
        try:
            with writing(tmp_path / "a.store"):
                pass
        except UsageError as error:
            refused.append(error)

    with writing(tmp_path / "a.store"):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert f"process {os.getpid()} on" in str(refused[0])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_that_lives_on_holds_nothing(tmp_path):
    with writing(tmp_path / "a.store"):
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
    try:
        with writing(tmp_path / "a.store"):
            pass
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


RACE = """
import sys, time
from pathlib import Path
from eofuse.errors import UsageError
from eofuse.locks import writing
target, rounds = Path(sys.argv[1]), 0
limit = time.monotonic() + 60
while rounds < 100 and time.monotonic() < limit:
    try:
        with writing(target):
            count = int(target.read_text())
            target.write_text(str(count + 1))
            rounds += 1
    except UsageError:
        pass
"""


def test_no_two_of_many_processes_are_ever_inside_at_once(tmp_path):
    counter = tmp_path / "counter"
    counter.write_text("0")
    processes = [subprocess.Popen([sys.executable, "-c", RACE, str(counter)]) for _ in range(4)]
    assert [process.wait(timeout=120) for process in processes] == [0] * 4
    assert counter.read_text() == "400"
    assert [path.name for path in tmp_path.iterdir()] == ["counter"]


@pytest.mark.parametrize("holder", ["writing"], indirect=True)
def test_a_patient_writer_waits(holder, tmp_path):
    threading.Timer(0.2, holder.kill).start()
    with writing(tmp_path / "a.store", patience_s=60):
        assert holder.wait() != 0


@pytest.mark.parametrize(
    "command",
    [
        ["pack", "nowhere", "held"],
        ["append", "held", "b.store"],
        ["merge", "a.store", "b.store", "-o", "held"],
        ["merge", "held", "b.store", "-o", "c.store"],
        ["subset", "a.store", "-o", "held"],
        ["subset", "held", "-o", "c.store"],
        ["cut", "nothing.yaml", "held"],
        ["simulate", "held"],
        ["resume", "held"],
    ],
    ids=" ".join,
)
def test_a_command_is_refused_before_it_reads_what_another_one_writes(command, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nothing.yaml").touch()
    with writing(tmp_path / "held"), ThreadPoolExecutor(1) as other:
        assert other.submit(main, command).result() == 2
    assert "held: another process is at work on it: process" in capsys.readouterr().err


@pytest.mark.skipif(os.name != "posix" or Path("/proc/self").exists() is False, reason="needs /proc")
def test_what_lies_where_nothing_can_be_written_is_read_without_a_lock():
    with reading(Path("/proc/self")):
        pass


def test_what_is_there_already_is_made_beside_other_readers_and_writers(tmp_path):
    folder, store = tmp_path / "simulated", tmp_path / "a.store"
    eofuse.pack(eofuse.simulate(folder, patches=8), store, modalities=["elevation"])

    def again(patches: int = 8) -> int:
        return len(eofuse.pack(eofuse.simulate(folder, patches=patches), store, modalities=["elevation"]))

    with writing(store), writing(folder), ThreadPoolExecutor(1) as other:
        assert other.submit(again).result() == 8
        with pytest.raises(HeldError):
            other.submit(again, patches=9).result()
