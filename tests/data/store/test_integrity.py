"""A store that was damaged is not read: sizes are compared always, checksums once, description and index each time."""

import json
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eofuse.cli import main
from eofuse.config import write_yaml
from eofuse.data.store import INDEX_FILE, STORE_FILE, integrity, open_store, open_to_check, opening, partial
from eofuse.data.store.combine import merge
from eofuse.data.store.integrity import PATCH_DIGESTS_FILE, patch_digest
from eofuse.data.store.pack import pack_source
from eofuse.data.store.subset import subset
from eofuse.errors import DataError, UsageError
from fake_source import GREENNESS, MODALITIES, FakeSource


def source(**options) -> FakeSource:
    return FakeSource(**{"patches": 40, "size": 4, "modalities": (*MODALITIES, GREENNESS), "bad": {2}} | options)


def packed(path: Path, **options):
    return pack_source(source(**options), path, workers=1, skip_bad=True)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return packed(tmp_path_factory.mktemp("whole") / "whole.store")


@pytest.fixture
def copy(whole, tmp_path) -> Path:
    return shutil.copytree(whole.path, tmp_path / "copy.store")


@pytest.fixture
def remembers(monkeypatch, tmp_path):
    """Files count as old at once; what was compared is counted."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(integrity, "YOUNG_NS", -(10**12))
    compared = []
    original = opening.verify
    monkeypatch.setattr(opening, "verify", lambda *args: compared.append(sorted(args[1])) or original(*args))
    return compared


FILES = (
    "elevation/00000.npy",
    "greenness/00000.npy",
    "s1/00000.npy",
    "s2/00000.npy",
    INDEX_FILE,
    "patch_digests.npy",
    "set_aside.csv",
    STORE_FILE,
)


def test_these_are_all_files_of_a_store(whole):
    assert set(contents(whole.path)) == set(FILES)


@settings(max_examples=150)
@given(
    file=st.sampled_from(FILES),
    at=st.floats(0, 1, exclude_max=True),
    way=st.sampled_from(["flip", "flip", "cut", "extend", "remove"]),
    mask=st.integers(1, 255),
)
def test_no_damage_to_any_file_passes_the_opening(whole, tmp_path_factory, file, at, way, mask):
    folder = shutil.copytree(whole.path, tmp_path_factory.mktemp("damaged") / "store")
    path, content = folder / file, bytearray((folder / file).read_bytes())
    place = int(at * len(content))
    if way == "flip":
        content[place] ^= mask
    elif way == "cut":
        del content[place:]
    else:
        content += bytes([mask])
    path.write_bytes(content)
    if way == "remove":
        path.unlink()
    try:
        open_store(folder)
    except DataError as error:
        assert error.fix  # noqa: PT017
    else:  # another space between the values of the description
        assert json.loads(content) == json.loads((whole.path / file).read_text())


@pytest.mark.parametrize(
    "change",
    [
        lambda told: told.update(simulated=False),
        lambda told: told.update(name="other"),
        lambda told: told["modalities"][0].update(scale=0.5),
        lambda told: told["modalities"][0]["channels"][0].update(name="B99"),
        lambda told: told["provenance"].update(source="elsewhere"),
        lambda told: told["provenance"].update(set_aside=0),
        lambda told: told.update(fingerprint="0" * 64),
        lambda told: told.pop("digest"),
        lambda told: told.update(more=1),
    ],
)
def test_a_changed_description_is_found(copy, change):
    told = json.loads((copy / STORE_FILE).read_text())
    change(told)
    (copy / STORE_FILE).write_text(json.dumps(told))
    with pytest.raises(DataError, match=r"store\.json: has changed since it was written"):
        open_store(copy)


def test_a_store_of_an_older_version_opens_without_complaint(copy, whole):
    told = json.loads((copy / STORE_FILE).read_text())
    del told["digest"], told["files"][PATCH_DIGESTS_FILE]
    (copy / PATCH_DIGESTS_FILE).unlink()
    (copy / STORE_FILE).write_text(json.dumps(told))
    old = open_store(copy)
    assert old.fingerprint == whole.fingerprint
    assert old.verify() == []
    flip(copy / "s2/00000.npy", 3000)
    with pytest.raises(DataError, match=r"s2/00000\.npy: has changed since it was written"):
        open_store(copy)


def test_the_damaged_patches_are_named(copy):
    row_bytes = 12 * 4 * 4 * 2
    for row in (7, 9):
        flip(copy / "s2/00000.npy", 128 + row * row_bytes + 5)
    (problem,) = open_to_check(copy).verify()
    assert problem.where == "s2/00000.npy"
    assert problem.what.endswith("(2 patches: patch_8, patch_10)")  # patch_2 is set aside


def test_checksums_are_compared_once(copy, remembers):
    open_store(copy)
    open_store(copy)
    assert remembers == [sorted(set(FILES) - {STORE_FILE, INDEX_FILE})]
    time.sleep(0.02)
    os.utime(copy / "s1/00000.npy")
    open_store(copy)
    assert remembers[1:] == [["s1/00000.npy"]]


def test_what_is_remembered_outlasts_the_process(copy, remembers, monkeypatch):
    open_store(copy)
    monkeypatch.setattr(integrity, "_of_this_process", {})
    open_store(copy)
    assert len(remembers) == 1


def test_a_file_changed_behind_its_old_time_is_compared_again(copy, remembers):
    open_store(copy)
    time.sleep(0.02)
    path = copy / "s2/00000.npy"
    before = path.stat()
    flip(path, 3000)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(DataError, match=r"s2/00000\.npy: has changed"):
        open_store(copy)
    with pytest.raises(DataError, match=r"s2/00000\.npy: has changed"):
        open_store(copy)


def test_a_file_that_was_just_written_is_not_remembered(copy, remembers, monkeypatch):
    monkeypatch.setattr(integrity, "YOUNG_NS", 10**12)
    open_store(copy)
    open_store(copy)
    assert len(remembers) == 2


def test_a_damaged_memory_is_no_memory(copy, remembers, monkeypatch, tmp_path):
    open_store(copy)
    (file,) = (tmp_path / "cache").rglob("*.json")
    for content in ("{", "[]", '{"files": 3}', '{"files": {"s2/00000.npy": [1]}}'):
        file.write_text(content)
        monkeypatch.setattr(integrity, "_of_this_process", {})
        open_store(copy)
    assert len(remembers) == 5


def test_where_nothing_can_be_remembered_a_process_still_compares_once(copy, remembers, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    open_store(copy)
    open_store(copy)
    assert len(remembers) == 1


def test_opening_writes_nothing_into_the_store(copy):
    before = contents(copy)
    open_store(copy)
    assert contents(copy) == before


def test_check_compares_what_is_remembered_too(copy, remembers, monkeypatch, capsys):
    monkeypatch.setattr(integrity, "stamp_of", lambda path: (1, 1, 1, 1))
    open_store(copy)
    flip(copy / "s2/00000.npy", 3000)
    open_store(copy)  # the file seems to be the same
    assert main(["check", str(copy)]) == 1
    assert "s2/00000.npy: has changed since it was written" in capsys.readouterr().out


def test_the_comparison_can_be_left_out_and_sizes_are_compared_all_the_same(copy, monkeypatch):
    path = copy / "s2/00000.npy"
    flip(path, 3000)
    assert len(open_store(copy, verified=False)) == 39
    monkeypatch.setenv("EOFUSE_VERIFY", "0")
    assert len(open_store(copy)) == 39
    os.truncate(path, path.stat().st_size - 1)
    with pytest.raises(DataError, match=r"s2/00000\.npy: is damaged: 1 bytes are missing"):
        open_store(copy)


def test_a_head_that_numpy_would_mend_is_damaged(copy, recwarn):
    path = copy / "s2/00000.npy"
    content = path.read_bytes()
    path.write_bytes(content.replace(b"(39, 12, 4, 4), }", b"(39L, 12, 4, 4),}", 1))
    assert path.read_bytes() != content
    with pytest.raises(DataError, match=r"s2/00000\.npy: is damaged: its head is no head of an array"):
        open_store(copy, verified=False)
    assert not recwarn.list


def test_values_that_changed_are_not_copied_into_other_stores(copy, whole, tmp_path, monkeypatch):
    flip(copy / "s2/00000.npy", 128 + 7 * 12 * 4 * 4 * 2)
    monkeypatch.setenv("EOFUSE_VERIFY", "0")
    with pytest.raises(DataError, match="s2 of patch patch_8: has changed"):
        subset(copy, tmp_path / "part.store")
    assert len(subset(copy, tmp_path / "part.store", ids=["patch_7"])) == 1
    with pytest.raises(DataError, match="1 patch: patch_8"):
        merge([copy, whole.path], tmp_path / "both.store")


def test_training_finds_damage_before_it_writes(recipe, planted_store, tmp_path, capsys):
    copy = shutil.copytree(planted_store.path, tmp_path / "copy.store")
    flip(copy / "s1/00000.npy", 5000)
    (tmp_path / "recipe.yaml").write_text(write_yaml(recipe | {"data": {"store": str(copy)}}))
    assert main(["train", str(tmp_path / "recipe.yaml"), "--to", str(tmp_path / "run")]) == 1
    assert "s1/00000.npy: has changed since it was written" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_digests_are_those_of_the_patches_at_their_source(whole):
    values = source().read(3)
    names = [modality.name for modality in whole.arrays]
    for name in ("s2", "s1", "greenness"):
        digest = whole.digests[whole.row_of("patch_3"), names.index(name)]
        np.testing.assert_array_equal(digest, patch_digest(values[name]))


def test_packing_a_damaged_store_again_says_so_and_mends_it_if_asked(whole, copy):
    flip(copy / "s2/00000.npy", 3000)
    with pytest.raises(DataError, match="--overwrite"):
        packed(copy)
    pack_source(source(), copy, workers=1, skip_bad=True, overwrite=True)
    assert contents(copy) == contents(whole.path)


class Killed(BaseException):
    """Stands for a kill."""


def killed_after(chunks: int, folder: Path, monkeypatch) -> Path:
    """A partial store with the first chunks of 16 patches."""
    original = partial.PartialStore.append

    def append(self, chunk):
        if self.chunks_done == chunks:
            raise Killed
        original(self, chunk)

    with monkeypatch.context() as patch:
        patch.setattr(partial.PartialStore, "append", append)
        with pytest.raises(Killed):
            packed(folder)
    return folder.with_name(f"{folder.name}.partial")


def test_a_damaged_write_is_found_before_the_store_gets_its_name(whole, tmp_path, monkeypatch):
    original = partial.extend

    def extend(path, rows, values):
        original(path, rows, values)
        if path.parent.name == "s1" and rows == 15:  # without the bad patch
            flip(path, path.stat().st_size - 1)

    with monkeypatch.context() as patch:
        patch.setattr(partial, "extend", extend)
        with pytest.raises(DataError, match="patch patch_31 was written, and other bytes were read back"):
            packed(tmp_path / "fake.store")
    assert not (tmp_path / "fake.store").exists()
    assert contents(packed(tmp_path / "fake.store").path) == contents(whole.path)


@pytest.mark.parametrize("file", ["s1/00000.npy", PATCH_DIGESTS_FILE])
@pytest.mark.parametrize("place", [130, -1])
def test_what_a_power_cut_damaged_is_read_again(whole, tmp_path, monkeypatch, file, place):
    left = killed_after(2, tmp_path / "fake.store", monkeypatch)
    flip(left / file, place)
    assert contents(packed(tmp_path / "fake.store").path) == contents(whole.path)


def test_a_damaged_journal_is_not_gone_on_with(tmp_path, monkeypatch):
    journal = killed_after(1, tmp_path / "fake.store", monkeypatch) / partial.JOURNAL_FILE
    journal.write_text(journal.read_text().replace('"chunks_done": 1', '"chunks_done": 2'))
    with pytest.raises(UsageError, match="is in the way of the packing"):
        packed(tmp_path / "fake.store")


def test_all_files_and_folders_are_on_the_disk_before_the_store_gets_its_name(tmp_path, monkeypatch):
    done: list[Path] = []
    original = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda file: done.append(Path(f"/proc/self/fd/{file}").readlink()) or original(file)
    )
    named: list[list[Path]] = []
    rename = Path.rename
    monkeypatch.setattr(Path, "rename", lambda self, to: named.append([*done]) or rename(self, to))
    packed(tmp_path / "fake.store")
    synchronised = {path.relative_to(tmp_path / "fake.store.partial").as_posix() for path in named[-1]}
    folders = {".", "elevation", "greenness", "s1", "s2"}
    assert synchronised >= {*FILES, *folders} - {STORE_FILE}
    assert done[-1] == tmp_path
