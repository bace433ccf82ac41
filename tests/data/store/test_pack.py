"""Packing: parallel, resumable, atomic; bad patches stop it or are set aside."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from eofuse.data.store import partial
from eofuse.data.store.combine import append
from eofuse.data.store.pack import pack, pack_source
from eofuse.data.store.partial import PartialStore
from eofuse.errors import DataError, UsageError
from fake_ben_ge import write_ben_ge
from fake_source import FakeSource


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


class Interrupted(BaseException):
    """Stands for a kill at some point of the work."""


def interrupt_after(source: FakeSource, reads: int) -> None:
    original, count = source.read, [0]

    def read(row: int):
        count[0] += 1
        if count[0] > reads:
            raise Interrupted
        return original(row)

    source.read = read


@pytest.mark.parametrize("reads", [0, 1, 20, 39])
def test_an_interrupted_pack_goes_on_to_the_same_store(tmp_path, reads):
    whole = pack_source(FakeSource(patches=40), tmp_path / "whole.store", workers=1)
    source = FakeSource(patches=40)
    interrupt_after(source, reads)
    with pytest.raises(Interrupted):
        pack_source(source, tmp_path / "again.store", workers=1)
    assert not (tmp_path / "again.store").exists()
    again = pack_source(FakeSource(patches=40), tmp_path / "again.store", workers=1)
    assert contents(again.path) == contents(whole.path)


def test_done_chunks_are_not_read_again(tmp_path):
    source = FakeSource(patches=40)
    interrupt_after(source, 33)
    with pytest.raises(Interrupted):
        pack_source(source, tmp_path / "fake.store", workers=1)
    source = FakeSource(patches=40)
    rows, original = [], source.read
    source.read = lambda row: rows.append(row) or original(row)
    pack_source(source, tmp_path / "fake.store", workers=1)
    assert rows == list(range(32, 40))


def test_a_killed_pack_of_real_patches_goes_on_to_the_same_store(tmp_path, ben_real_40):
    """kill −9 while two workers read; what lies half-written is cut back to the journal."""
    whole = pack(ben_real_40, tmp_path / "whole.store", workers=2)
    code = (
        "import sys, time\nfrom eofuse.data.store.pack import pack\nfrom eofuse.data.store.partial import PartialStore\n"
        "append = PartialStore.append\n"
        "def slow(self, chunk):\n    append(self, chunk)\n    time.sleep(0.3)\n"
        "PartialStore.append = slow\n"
        "pack(sys.argv[1], sys.argv[2], workers=2)\n"
    )
    killed = tmp_path / "killed.store"
    arguments = [sys.executable, "-c", code, str(ben_real_40), str(killed)]
    process = subprocess.Popen(arguments, start_new_session=True, stderr=subprocess.DEVNULL)
    journal = tmp_path / "killed.store.partial" / "journal.json"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not (journal.exists() and '"chunks_done": 1' in journal.read_text()):
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not killed.exists()
    with (tmp_path / "killed.store.partial" / "s2" / "00000.npy").open("ab") as file:
        file.write(b"half a patch")
    assert contents(pack(ben_real_40, killed, workers=2).path) == contents(whole.path)


def test_the_store_does_not_depend_on_the_number_of_workers(tmp_path):
    one = pack_source(FakeSource(patches=40), tmp_path / "one.store", workers=1)
    three = pack_source(FakeSource(patches=40), tmp_path / "three.store", workers=3)
    assert contents(one.path) == contents(three.path)


def interrupted_pack(store: Path, source: FakeSource, reads: int = 33, **options) -> dict[str, bytes]:
    """What an interrupted packing left."""
    interrupt_after(source, reads)
    with pytest.raises(Interrupted):
        pack_source(source, store, workers=1, **options)
    return contents(store.with_name(f"{store.name}.partial"))


def test_what_another_source_left_half_done_is_neither_used_nor_thrown_away_unasked(tmp_path):
    store = tmp_path / "fake.store"
    left = interrupted_pack(store, FakeSource(patches=40, seed=1))
    with pytest.raises(UsageError, match="other data, or with other options, that was interrupted, with 32 patches"):
        pack_source(FakeSource(patches=40, seed=0), store, workers=1)
    assert contents(tmp_path / "fake.store.partial") == left
    done = pack_source(FakeSource(patches=40, seed=0), store, workers=1, overwrite=True)
    np.testing.assert_array_equal(done.read("s2", [3])[0], FakeSource(patches=40, seed=0).read(3)["s2"])
    assert [path.name for path in tmp_path.iterdir()] == ["fake.store"]


def test_an_append_does_not_throw_away_what_another_left_half_done(tmp_path):
    base = pack_source(FakeSource(patches=5, seed=3), tmp_path / "base.store", workers=1)
    source = FakeSource(patches=7)
    source.index["patch_id"] = [f"other_{row}" for row in range(7)]
    more = pack_source(source, tmp_path / "more.store", workers=1)
    left = interrupted_pack(base.path, FakeSource(patches=40, seed=1), overwrite=True)
    with pytest.raises(UsageError, match="that was interrupted"):
        append(base.path, [more.path])
    assert contents(tmp_path / "base.store.partial") == left


def test_skipping_bad_patches_goes_on_from_what_is_packed(tmp_path):
    store, rows = tmp_path / "fake.store", []
    with pytest.raises(DataError, match="patch_35, B02: is truncated"):
        pack_source(FakeSource(patches=40, bad={35}), store, workers=1)
    source = FakeSource(patches=40, bad={35})
    original = source.read
    source.read = lambda row: rows.append(row) or original(row)
    done = pack_source(source, store, workers=1, skip_bad=True)
    assert min(rows) == 32
    whole = pack_source(FakeSource(patches=40, bad={35}), tmp_path / "whole.store", workers=1, skip_bad=True)
    assert contents(done.path) == contents(whole.path)


def test_patches_that_were_skipped_are_not_missing_from_a_store_that_may_skip_none(tmp_path):
    store = tmp_path / "fake.store"
    interrupted_pack(store, FakeSource(patches=40, bad={5}), skip_bad=True)
    with pytest.raises(UsageError, match=r"patch_5.*pass --skip-bad to go on"):
        pack_source(FakeSource(patches=40, bad={5}), store, workers=1)
    assert len(pack_source(FakeSource(patches=40, bad={5}), store, workers=1, skip_bad=True)) == 39
    with pytest.raises(UsageError, match="holds other data"):
        pack_source(FakeSource(patches=40, bad={5}), store, workers=1)


def test_packing_the_same_again_does_nothing(tmp_path):
    first = pack_source(FakeSource(patches=7), tmp_path / "fake.store", workers=1)
    before = (first.path / "store.json").stat().st_mtime_ns
    pack_source(FakeSource(patches=7), tmp_path / "fake.store", workers=1)
    assert (first.path / "store.json").stat().st_mtime_ns == before


def test_a_store_of_other_content_is_not_overwritten_unasked(tmp_path):
    pack_source(FakeSource(patches=7), tmp_path / "fake.store", workers=1)
    with pytest.raises(UsageError, match="holds other data"):
        pack_source(FakeSource(patches=8), tmp_path / "fake.store", workers=1)
    assert len(pack_source(FakeSource(patches=8), tmp_path / "fake.store", workers=1, overwrite=True)) == 8


def test_a_bad_patch_stops_the_packing(tmp_path):
    with pytest.raises(DataError, match="patch_5, B02: is truncated"):
        pack_source(FakeSource(patches=20, bad={5}), tmp_path / "fake.store", workers=2)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_no_store_is_never_replaced(tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("all of it")
    with pytest.raises(UsageError, match="is no store"):
        pack_source(FakeSource(patches=7), precious, workers=1, overwrite=True)
    assert (precious / "thesis.txt").read_text() == "all of it"


def test_a_store_in_place_of_its_own_source_is_refused(tmp_path):
    write_ben_ge(tmp_path / "tiny", patches=3)
    for store in (tmp_path / "tiny", tmp_path, tmp_path / "tiny" / "sentinel-2"):
        with pytest.raises(UsageError, match="must not hold the dataset"):
            pack(tmp_path / "tiny", store, overwrite=True)


def test_a_repaired_file_of_the_same_size_is_noticed(tmp_path):
    write_ben_ge(tmp_path / "tiny", patches=3)
    pack(tmp_path / "tiny", tmp_path / "tiny.store", workers=1)
    band = next((tmp_path / "tiny").glob("sentinel-2/*/*_B02.tif"))
    os.utime(band, ns=(0, 0))
    with pytest.raises(UsageError, match="holds other data"):
        pack(tmp_path / "tiny", tmp_path / "tiny.store", workers=1)


def test_bad_patches_are_set_aside_in_a_list_if_asked(tmp_path):
    store = pack_source(FakeSource(patches=40, bad={5, 33}), tmp_path / "fake.store", workers=2, skip_bad=True)
    assert len(store) == 38
    assert "patch_5" not in set(store.index["patch_id"])
    np.testing.assert_array_equal(store.read("s2", [5])[0], FakeSource(patches=40).read(6)["s2"])
    aside = (store.path / "set_aside.csv").read_text()
    assert "patch_5" in aside
    assert "is truncated" in aside


def test_an_interrupted_pack_that_skips_goes_on_to_the_same_store(tmp_path):
    whole = pack_source(FakeSource(patches=40, bad={5, 33}), tmp_path / "whole.store", workers=1, skip_bad=True)
    source = FakeSource(patches=40, bad={5, 33})
    interrupt_after(source, 34)
    with pytest.raises(Interrupted):
        pack_source(source, tmp_path / "again.store", workers=1, skip_bad=True)
    again = pack_source(FakeSource(patches=40, bad={5, 33}), tmp_path / "again.store", workers=1, skip_bad=True)
    assert contents(again.path) == contents(whole.path)


def test_a_full_disk_is_one_clear_error_and_the_rerun_goes_on(tmp_path, monkeypatch):
    original, calls = PartialStore.append, [0]

    def append(self, chunk):
        calls[0] += 1
        if calls[0] == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        original(self, chunk)

    monkeypatch.setattr(PartialStore, "append", append)
    with pytest.raises(DataError, match="the disk is full"):
        pack_source(FakeSource(patches=40), tmp_path / "fake.store", workers=1)
    assert not (tmp_path / "fake.store").exists()
    whole = pack_source(FakeSource(patches=40), tmp_path / "whole.store", workers=1)
    assert contents(pack_source(FakeSource(patches=40), tmp_path / "fake.store", workers=1).path) == contents(
        whole.path
    )


def test_too_little_space_is_said_before_anything_is_read(tmp_path, monkeypatch):
    usage = partial.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(partial.shutil, "disk_usage", lambda path: usage._replace(free=1000))
    source = FakeSource(patches=20)
    interrupt_after(source, 0)
    with pytest.raises(DataError, match="packing needs"):
        pack_source(source, tmp_path / "fake.store", workers=1)


def test_a_removal_that_fails_leaves_the_journal_so_that_the_same_command_goes_on(tmp_path, monkeypatch):
    source = FakeSource(patches=20, bad={0})
    monkeypatch.setattr("eofuse.data.store.placing.shutil.rmtree", lambda *a, **k: None)  # no more files can be opened
    for _ in range(2):
        with pytest.raises(DataError, match="is truncated"):
            pack_source(source, tmp_path / "out.store", workers=1)
        assert (tmp_path / "out.store.partial" / "journal.json").exists()
    monkeypatch.undo()
    assert len(pack_source(source, tmp_path / "out.store", workers=1, skip_bad=True)) == 19
