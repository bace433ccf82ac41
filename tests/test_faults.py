"""What the system refuses becomes one line: what, where, what to do. What is written outlasts a power cut."""

import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow
import pytest

from eofuse import files
from eofuse.cli import main
from eofuse.cli.parser import make_parser
from eofuse.errors import DataError, EofuseError, explain
from eofuse.files import LONGEST_NAME, file_name, remove_temporaries, replacing, temporary_of

EOFUSE = [sys.executable, "-m", "eofuse.cli"]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (
            OSError(errno.ENOSPC, "No space left on device", "a.npy"),
            "a.npy: no space left on device; free some space and run the same command again",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "/data/x.tif"),
            "/data/x.tif: permission denied; change its permissions, or name another path",
        ),
        (
            OSError(errno.EROFS, "Read-only file system", b"/data"),
            "/data: read-only file system; name a place that can be written",
        ),
        (
            OSError("[Errno 28] Error writing bytes to file. Detail: [errno 28] No space left on device"),
            "no space left on device; free some space and run the same command again",
        ),
        (OSError("the library says no more"), "the library says no more"),
        (
            MemoryError(),
            "the memory is not enough; use smaller batches or patches, or fewer workers, or a machine with more memory",
        ),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes"),
            "the memory is not enough; use smaller batches or patches, or fewer workers, or a machine with more memory",
        ),
    ],
)
def test_what_the_system_refuses_is_said_in_one_line(error, message):
    assert str(explain(error)) == message
    assert explain(error).exit_code == 1


def test_what_a_library_can_not_read_is_no_defect():
    error = pyarrow.ArrowNotImplementedError("Integers with more than 64 bits")
    assert str(explain(error)).startswith(
        "a Parquet table can't be read: Integers with more than 64 bits; find the file"
    )
    assert explain(error).exit_code == 1


def test_an_error_that_nobody_expected_is_called_a_defect():
    assert str(explain(ValueError("odd"))).startswith("ValueError: odd; this is a defect of eofuse: please report it")


def test_errors_with_a_message_stay_as_they_are():
    error = DataError("is damaged", where="a.npy")
    assert explain(error) is error


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Runs a function as a command."""

    def run(function) -> int:
        arguments = make_parser().parse_args(["describe", str(tmp_path)])
        arguments.command = function
        monkeypatch.setattr("argparse.ArgumentParser.parse_known_args", lambda self, argv=None: (arguments, []))
        return main([])

    return run


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (OSError(errno.EIO, "Input/output error", "s2/00000.npy"), 1, "s2/00000.npy: input/output error"),
        (KeyError("patch"), 1, "KeyError: 'patch'; this is a defect of eofuse"),
        (KeyboardInterrupt(), 130, "interrupted; what is done is kept"),
    ],
)
def test_no_command_ends_in_a_traceback(error, status, words, run, capsys):
    def command(arguments):
        raise error

    assert run(command) == status
    printed = capsys.readouterr().err
    assert printed.startswith(f"eofuse: {words}")
    assert printed.count("\n") == 1


def test_the_traceback_is_shown_to_those_who_want_it(monkeypatch, tmp_path):
    monkeypatch.setenv("EOFUSE_TRACEBACK", "1")
    with pytest.raises(EofuseError):
        main(["describe", str(tmp_path / "none")])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("lines", [1, 10_000])
def test_an_output_that_can_not_be_written_is_one_line(lines, run, capsys, monkeypatch):
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr("sys.stdout", full)
        assert run(lambda arguments: print("result\n" * lines)) == 1
    printed = capsys.readouterr().err
    assert "no space left on device" in printed
    assert printed.count("\n") == 1


def test_a_process_that_begins_without_an_output_does_its_work(tmp_path):
    (tmp_path / "plots.csv").write_text("plot,lon,lat\na,8,47\n")
    closed = ["sh", "-c", 'exec "$@" >&-', "sh"]
    done = subprocess.run([*closed, *EOFUSE, "init", "plots.csv"], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "plots.yaml").exists()


def test_a_terminal_without_a_character_gets_another_one(tmp_path):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii:strict", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [*EOFUSE, "describe", str(tmp_path / "größe.store")], env=environment, capture_output=True, text=True
    )
    assert done.returncode in (1, 2)
    assert done.stderr.startswith("eofuse: ")
    assert done.stderr.count("\n") == 1


def test_a_signal_that_ends_a_command_lets_it_clean_up(run, capsys):
    cleaned = []

    def command(arguments):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()
        finally:
            cleaned.append(True)

    before = signal.getsignal(signal.SIGTERM)
    assert run(command) == 128 + signal.SIGTERM
    assert cleaned
    assert signal.getsignal(signal.SIGTERM) is before
    assert "ended by the system; what is done is kept" in capsys.readouterr().err


def test_what_goes_wrong_in_cleaning_up_after_a_signal_does_not_hide_it(run, capsys):
    def command(arguments):
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()
        finally:
            os.close(-1)

    assert run(command) == 128 + signal.SIGTERM
    assert capsys.readouterr().err.startswith("eofuse: ended by the system")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_error_that_took_the_place_of_a_signal_does_not_hide_it(run, capsys, number):
    """As C code does, which clears what Python raised and raises its own."""

    def command(arguments):
        with contextlib.suppress(KeyboardInterrupt):
            os.kill(os.getpid(), number)
            time.sleep(60)
        raise ValueError("could not determine the shape")

    assert run(command) == 128 + number
    assert "what is done is kept" in capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_the_end_of_an_object_is_not_lost(run, capsys, number):
    class Ends:
        def __del__(self) -> None:
            os.kill(os.getpid(), number)
            time.sleep(1)

    def command(arguments):
        ends = Ends()
        del ends
        time.sleep(60)

    assert run(command) == 128 + number
    assert capsys.readouterr().err.count("\n") == 1


def test_a_file_is_on_the_disk_before_its_name_and_its_name_before_the_end(tmp_path, monkeypatch):
    done = []
    monkeypatch.setattr(files, "synchronise", lambda path: done.append((path.name, (tmp_path / "a.json").exists())))
    with replacing(tmp_path / "a.json") as temporary:
        temporary.write_text("new")
    assert [exists for _, exists in done] == [False, True]
    assert done[1][0] == tmp_path.name


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "a.json").write_text("old")

    def write() -> None:
        with replacing(tmp_path / "a.json") as temporary:
            temporary.write_text("half")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError):
        write()
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def abandoned(path: Path, process: int) -> Path:
    """What a process of this machine left behind when it was killed while it wrote."""
    left = temporary_of(path)
    left = left.with_name(left.name.replace(f"-{os.getpid()}.tmp", f"-{process}.tmp"))
    left.parent.mkdir(exist_ok=True)
    left.write_text("half")
    return left


@pytest.mark.skipif(os.name != "posix", reason="elsewhere one can't look for a process")
def test_a_file_that_is_written_again_removes_what_a_killed_process_left(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = [abandoned(tmp_path / "a.json", ended.pid), abandoned(tmp_path / "b.json", ended.pid)]
    used = abandoned(tmp_path / "a.json", os.getppid())
    own = tmp_path / ".a.json.backup.tmp"
    own.touch()
    with replacing(tmp_path / "a.json") as temporary:
        temporary.write_text("new")
    assert [path.exists() for path in (*left, used, own)] == [False, True, True, True]


def test_a_folder_that_is_held_is_swept_with_all_below_it(tmp_path):
    left = [abandoned(tmp_path / name, os.getppid()) for name in ("a.json", "model/model.json")]
    (tmp_path / ".b.json.77.tmp").touch()  # of versions before
    (tmp_path / "model" / ".notes.tmp").touch()
    remove_temporaries(tmp_path)
    assert not any(path.exists() for path in left)
    assert sorted(path.name for path in tmp_path.rglob("*")) == [".notes.tmp", "model"]


def test_files_have_the_permissions_of_new_files(tmp_path):
    umask = os.umask(0o027)
    try:
        with replacing(tmp_path / "model") as temporary:
            temporary.write_text("weights")
            temporary.chmod(0o600)
    finally:
        os.umask(umask)
    assert (tmp_path / "model").stat().st_mode & 0o777 == 0o640


def test_names_of_any_length_are_names_of_files(tmp_path):
    names = ["a" * 1000, "a" * 999 + "b", "植生" * 80, "biomass [t/ha]"]
    short = [file_name(name) for name in names]
    assert len(set(short)) == len(names)
    assert max(map(len, short)) <= LONGEST_NAME
    for name in short:
        (tmp_path / f"{name}.parquet").touch()
    assert file_name("biomass [t/ha]") == "biomass %5Bt%2Fha%5D"
