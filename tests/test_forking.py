"""Processes that are forked: as if they were started anew, and they end with the process that started them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from eofuse import forking

CODE = """
import json, os, sys

IMPORTED_BY = os.getpid()

def main():
    for line in sys.stdin:
        if line.strip() == "fail":
            raise ValueError("asked to")
        facts = [os.getpid() != IMPORTED_BY, os.getcwd(), sys.argv[1:], os.environ.get("WORD"), os.getsid(0) == os.getpid()]
        print(json.dumps(facts), flush=True)
"""
PARENT = """
import os, time
from eofuse import forking
print(*[forking.start("forked_by_test", [], os.environ).pid for _ in range(2)], flush=True)
time.sleep(60)
"""


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Starts the module above."""
    (tmp_path / "forked_by_test.py").write_text(CODE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.chdir(tmp_path)
    return lambda *arguments, **env: forking.start("forked_by_test", arguments, {**os.environ, **env})


def asked(process, word="facts"):
    process.stdin.write(word + "\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


def ended(process) -> int:
    process.stdin.close()
    process.stdout.close()
    return process.wait()


def is_alive(pid) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_a_process_has_the_words_variables_and_folder_of_now(start, tmp_path, monkeypatch):
    processes = [start("a", "b", WORD="one")]
    monkeypatch.chdir("/")
    processes.append(start(WORD="two"))
    assert asked(processes[0]) == [forking.FORKS, str(tmp_path), ["a", "b"], "one", True]
    assert asked(processes[1]) == [forking.FORKS, "/", [], "two", True]
    assert [each.poll() for each in processes] == [None, None]
    assert [ended(each) for each in processes] == [0, 0]


def test_the_exit_status_is_that_of_the_process(start, capfd):
    failing, killed = start(), start()
    failing.stdin.write("fail\n")
    assert ended(failing) == 1
    assert "ValueError: asked to" in capfd.readouterr().err
    killed.kill()
    assert ended(killed) == killed.poll() == -signal.SIGKILL


def test_processes_end_with_the_one_that_started_them_however_it_ends(start):
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True, start_new_session=True)
    with parent.stdout:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
    assert len(pids) == 2
    parent.kill()
    parent.wait()
    until = time.monotonic() + 20
    while any(is_alive(pid) for pid in pids) and time.monotonic() < until:
        time.sleep(0.02)
    assert not any(is_alive(pid) for pid in pids)


@pytest.mark.skipif(not forking.FORKS, reason="there is no server")
def test_where_the_server_was_killed_another_one_forks(start):
    first = start()
    os.kill(forking._server(dict(os.environ)).process.pid, signal.SIGKILL)
    second = start()
    assert asked(second)[0]
    assert not is_alive(first.pid)
    assert ended(first) == -signal.SIGKILL
    assert ended(second) == 0
