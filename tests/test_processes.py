"""Work in several processes: in order, with clear errors, and none outlives its parent."""

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from eofuse.errors import DataError
from eofuse.processes import in_processes


def double(shared: int, job: int) -> int:
    if job < 0:
        raise DataError("is negative", where=f"job {job}")
    if job == 13:
        os.kill(os.getpid(), signal.SIGKILL)
    return shared + 2 * job


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_the_order_of_the_jobs(workers):
    assert list(in_processes(double, 1, range(10), workers, where="here")) == [1 + 2 * job for job in range(10)]


def test_an_error_of_a_job_comes_as_it_is():
    with pytest.raises(DataError, match="job -1: is negative"):
        list(in_processes(double, 0, [1, -1, 2, 3], 2, where="here"))


def test_a_killed_process_is_one_error():
    with pytest.raises(DataError, match=r"here: a process that worked on it was killed; .*fewer workers"):
        list(in_processes(double, 0, [1, 13, 2], 2, where="here"))


def test_results_need_not_all_be_taken():
    with closing(in_processes(double, 0, range(100), 2, where="here")) as results:
        assert next(results) == 0


LONG_WORK = """
import os, sys, time
sys.path.insert(0, {tests!r})
from eofuse.processes import in_processes
from pathlib import Path

def work(folder, job):
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(60)

list(in_processes(work, {folder!r}, range(4), 2, where="here"))
"""


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs /proc")
@pytest.mark.parametrize("signals", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_processes_end_with_their_parent(tmp_path, signals):
    code = LONG_WORK.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    parent = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    limit = time.monotonic() + 60
    while len(workers := [int(path.name) for path in tmp_path.iterdir()]) < 2:
        assert time.monotonic() < limit, parent.poll()
        time.sleep(0.02)
    parent.send_signal(signals)
    assert parent.wait(timeout=30) == -signals
    while any(map(is_running, workers)):
        assert time.monotonic() < limit, "workers outlive their parent"
        time.sleep(0.02)
