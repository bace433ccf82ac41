"""The downloader against a small web server on this machine: whole, broken, resumed, damaged and hostile files."""

import contextlib
import gzip
import hashlib
import http.server
import io
import json
import logging
import re
import shutil
import stat
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from eofuse.cli import main
from eofuse.data import web
from eofuse.data.download import RECORDS, download, is_downloaded, transfer
from eofuse.errors import DataError, UsageError

CONTENT = {"ben-ge-800/ben-ge-800_meta.csv": b"patch_id\nP1\n", "ben-ge-800/dem/P1_dem.tif": bytes(range(256)) * 4000}


class Site:
    """A stand-in for the archive: one record, files, and the ways in which a server can misbehave."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.checksums: dict[str, str] = {}
        self.link = "self"
        self.description: bytes | None = None  # instead of the right one
        self.ranges = True  # whether it understands Range
        self.shift = 0  # by how much the parts that it sends are beside those asked for
        self.cut_after: list[int] = []  # bytes after which it closes each of the next connections
        self.statuses: list[int] = []  # error codes of the next answers
        self.asked: list[tuple[str, str | None]] = []  # (path, Range) of the requests for files
        self.raw: Iterable[bytes] | None = None  # sent in place of an answer, piece by piece
        self.address = ""

    def describe(self) -> bytes:
        entries = [
            {
                "key": key,
                "size": len(content),
                "checksum": self.checksums.get(key, "md5:" + hashlib.md5(content).hexdigest()),
                "links": {self.link: f"{self.address}/files/{key}"},
            }
            for key, content in self.files.items()
        ]
        return json.dumps({"id": 1, "files": entries}).encode()


def handler_of(site: Site) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:
            pass

        def answer(
            self, status: int, body: bytes, headers: dict[str, str] | None = None, cut: int | None = None
        ) -> None:
            self.close_connection = True
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), "Connection": "close", **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body[:cut])

        def do_GET(self) -> None:
            if site.raw is not None:
                self.close_connection = True
                with contextlib.suppress(OSError):
                    for piece in site.raw:
                        self.wfile.write(piece)
                return None
            if site.statuses:
                return self.answer(site.statuses.pop(0), b"no")
            if self.path == f"/api/records/{RECORDS['ben-ge-800']}":
                return self.answer(200, site.describe() if site.description is None else site.description)
            content = site.files.get(self.path.removeprefix("/files/"))
            if content is None:
                return self.answer(404, b"nothing here")
            asked = self.headers.get("Range")
            site.asked.append((self.path.removeprefix("/files/"), asked))
            cut = site.cut_after.pop(0) if site.cut_after else None
            if asked is None or not site.ranges:
                return self.answer(200, content, cut=cut)
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) + site.shift
            if start >= len(content):
                return self.answer(416, b"")
            place = f"bytes {start}-{len(content) - 1}/{len(content)}"
            return self.answer(206, content[start:], {"Content-Range": place}, cut)

    return Handler


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(transfer, "PAUSES_SECONDS", (0.0, 0.0))
    monkeypatch.setenv("no_proxy", "*")
    site = Site()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler_of(site))
    site.address = f"http://127.0.0.1:{server.server_address[1]}"
    site.files["ben-ge-800.tar.gz"] = tar_of(CONTENT)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield site
    server.shutdown()
    server.server_close()
    thread.join()


def tar_of(content: dict[str, bytes], links: dict[str, tuple[bytes, str]] | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, (kind, target) in (links or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, target
            tar.addfile(entry)
        for name, data in content.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def zip_of(content: dict[str, bytes], link: str | None = None) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        for name, data in content.items():
            zipped.writestr(name, data)
        if link:
            entry = zipfile.ZipInfo(link)
            entry.external_attr = (stat.S_IFLNK | 0o777) << 16
            zipped.writestr(entry, "/etc")
    return buffer.getvalue()


def fetch(site: Site, to: Path, **options: Any) -> Path:
    return download("ben-ge-800", to, base_url=site.address, **options)


def files_in(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder.parent).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "download.json"
    }


def part_of(to: Path) -> Path:
    return to / "ben-ge-800.download" / "ben-ge-800.tar.gz.part"


def leave_part(site: Site, to: Path, size: int) -> None:
    part_of(to).parent.mkdir()
    part_of(to).write_bytes(site.files["ben-ge-800.tar.gz"][:size])


def test_a_data_set_is_downloaded_and_unpacked(site: Site, tmp_path: Path) -> None:
    assert not is_downloaded("ben-ge-800", tmp_path)
    folder = fetch(site, tmp_path / "new")
    assert folder == tmp_path / "new" / "ben-ge-800"
    assert files_in(folder) == CONTENT
    assert is_downloaded("ben-ge-800", tmp_path / "new")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["ben-ge-800"]  # nothing left over


def test_a_finished_data_set_is_not_downloaded_again(
    site: Site, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    fetch(site, tmp_path)
    site.asked.clear()
    with caplog.at_level(logging.INFO, logger="eofuse"):
        assert fetch(site, tmp_path) == tmp_path / "ben-ge-800"
    assert site.asked == []
    assert "ben-ge-800 is already there" in caplog.text


def test_the_command_again_removes_the_archives_that_a_killed_one_left(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = fetch(site, tmp_path)
    leave_part(site, tmp_path, 10)
    (tmp_path / ".ben-ge-800.lock").touch()
    assert main(["download", "ben-ge-800", "--to", str(tmp_path)]) == 0
    assert "is there already" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == [folder]


def test_a_folder_of_other_origin_is_left_alone(site: Site, tmp_path: Path) -> None:
    (tmp_path / "ben-ge-800").mkdir()
    (tmp_path / "ben-ge-800" / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="in the way"):
        fetch(site, tmp_path)
    assert (tmp_path / "ben-ge-800" / "mine.txt").read_text() == "mine"


def test_an_empty_folder_is_no_obstacle(site: Site, tmp_path: Path) -> None:
    (tmp_path / "ben-ge-800").mkdir()
    assert files_in(fetch(site, tmp_path)) == CONTENT


def test_a_partial_file_is_resumed_with_a_range(site: Site, tmp_path: Path) -> None:
    leave_part(site, tmp_path, 1000)
    assert files_in(fetch(site, tmp_path)) == CONTENT
    assert site.asked == [("ben-ge-800.tar.gz", "bytes=1000-")]


def test_a_whole_partial_file_is_only_checked(site: Site, tmp_path: Path) -> None:
    leave_part(site, tmp_path, len(site.files["ben-ge-800.tar.gz"]))
    assert files_in(fetch(site, tmp_path)) == CONTENT
    assert site.asked == []


def test_a_partial_file_that_is_too_long_is_started_anew(site: Site, tmp_path: Path) -> None:
    part_of(tmp_path).parent.mkdir()
    part_of(tmp_path).write_bytes(bytes(10**6))
    assert files_in(fetch(site, tmp_path)) == CONTENT
    assert site.asked == [("ben-ge-800.tar.gz", None)]


def test_a_server_without_ranges_sends_the_whole_file_anew(site: Site, tmp_path: Path) -> None:
    site.ranges = False
    leave_part(site, tmp_path, 1000)
    assert files_in(fetch(site, tmp_path)) == CONTENT


@pytest.mark.parametrize("shift", [-7, 10**9])
def test_a_server_that_sends_another_part_than_asked_for_is_asked_for_the_whole(
    site: Site, tmp_path: Path, shift: int
) -> None:
    site.shift = shift
    leave_part(site, tmp_path, 1000)
    assert files_in(fetch(site, tmp_path)) == CONTENT
    assert [asked for _, asked in site.asked] == ["bytes=1000-", None]


def test_a_connection_that_ends_early_is_taken_up_again(site: Site, tmp_path: Path) -> None:
    site.cut_after = [1000, 500]
    assert files_in(fetch(site, tmp_path)) == CONTENT
    assert [asked for _, asked in site.asked] == [None, "bytes=1000-", "bytes=1500-"]


def test_after_too_many_broken_connections_a_rerun_resumes(site: Site, tmp_path: Path) -> None:
    site.cut_after = [1000, 0, 0]
    with pytest.raises(DataError, match=r"broke off: the connection ended after 1000 of \d+ bytes.*resumes"):
        fetch(site, tmp_path)
    assert not (tmp_path / "ben-ge-800").exists()
    assert part_of(tmp_path).stat().st_size == 1000
    assert files_in(fetch(site, tmp_path)) == CONTENT
    assert site.asked[-1] == ("ben-ge-800.tar.gz", "bytes=1000-")


def test_a_wrong_checksum_is_an_error_and_the_file_is_deleted(site: Site, tmp_path: Path) -> None:
    site.checksums["ben-ge-800.tar.gz"] = "md5:" + "0" * 32
    with pytest.raises(DataError, match="checksum does not agree"):
        fetch(site, tmp_path)
    assert list(part_of(tmp_path).parent.iterdir()) == []
    assert not is_downloaded("ben-ge-800", tmp_path)
    site.checksums.clear()
    assert files_in(fetch(site, tmp_path)) == CONTENT


def test_a_partial_file_of_something_else_is_found_by_the_checksum(site: Site, tmp_path: Path) -> None:
    part_of(tmp_path).parent.mkdir()
    part_of(tmp_path).write_bytes(b"x" * 1000)
    with pytest.raises(DataError, match=r"checksum does not agree.*starts this file anew"):
        fetch(site, tmp_path)
    assert files_in(fetch(site, tmp_path)) == CONTENT


def test_several_files_of_a_record_come_together(site: Site, tmp_path: Path) -> None:
    site.link = "content"
    site.files = {
        "ben-ge-800.zip": zip_of({"ben-ge-800/a.csv": b"a", "__MACOSX/._a.csv": b"?"}),
        "README.md": b"read me",
        "empty.txt": b"",
    }
    expected = {"ben-ge-800/a.csv": b"a", "ben-ge-800/README.md": b"read me", "ben-ge-800/empty.txt": b""}
    assert files_in(fetch(site, tmp_path)) == expected


def test_an_archive_without_a_folder_of_its_own_is_unpacked_into_one(site: Site, tmp_path: Path) -> None:
    site.files = {"images.tar.gz": tar_of({"dem/P1.tif": b"1", "a.csv": b"a"}), "labels.zip": zip_of({"b/c.csv": b"c"})}
    expected = {"ben-ge-800/dem/P1.tif": b"1", "ben-ge-800/a.csv": b"a", "ben-ge-800/b/c.csv": b"c"}
    assert files_in(fetch(site, tmp_path)) == expected


@pytest.mark.parametrize("name", ["../escaped.txt", "/tmp/escaped.txt", "a/../../escaped.txt", "C:\\escaped.txt"])
@pytest.mark.parametrize("make", [tar_of, zip_of])
def test_an_archive_that_names_a_place_outside_its_folder_is_refused(
    site: Site, tmp_path: Path, make: Any, name: str
) -> None:
    archive = "hostile.zip" if make is zip_of else "hostile.tar.gz"
    site.files = {archive: make({"ok.txt": b"ok", name: b"escaped"})}
    with pytest.raises(DataError, match="outside the archive's folder"):
        fetch(site, tmp_path / "to")
    assert not (tmp_path / "to" / "ben-ge-800").exists()
    assert not list(tmp_path.rglob("*escaped*"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_an_archive_with_a_link_or_a_device_is_refused(site: Site, tmp_path: Path, kind: bytes) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    site.files = {"hostile.tar.gz": tar_of({"door/escaped.txt": b"escaped"}, {"door": (kind, str(outside))})}
    with pytest.raises(DataError, match="'door' is neither a file nor a folder"):
        fetch(site, tmp_path / "to")
    assert list(outside.iterdir()) == []


def test_a_zip_with_a_link_is_refused(site: Site, tmp_path: Path) -> None:
    site.files = {"hostile.zip": zip_of({"a.txt": b"a"}, link="door")}
    with pytest.raises(DataError, match="'door' is neither a file nor a folder"):
        fetch(site, tmp_path)


@pytest.mark.parametrize("key", ["broken.tar.gz", "broken.zip"])
def test_a_damaged_archive_is_a_data_error_that_names_it(site: Site, tmp_path: Path, key: str) -> None:
    site.files = {key: (tar_of if key.endswith("gz") else zip_of)(CONTENT)[:-200]}
    with pytest.raises(DataError, match=rf"{key}: the archive is damaged"):
        fetch(site, tmp_path)


def test_an_unpacking_that_was_interrupted_is_done_again(site: Site, tmp_path: Path) -> None:
    leave_part(site, tmp_path, len(site.files["ben-ge-800.tar.gz"]))
    part_of(tmp_path).rename(part_of(tmp_path).with_suffix(""))
    (part_of(tmp_path).parent / "unpacked").mkdir()
    (part_of(tmp_path).parent / "unpacked" / "half.tif").write_bytes(b"half")
    assert files_in(fetch(site, tmp_path)) == CONTENT
    assert site.asked == []


def test_an_unknown_name_is_a_usage_error_with_the_nearest_one(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'ben-ge-800'"):
        download("benge-800", tmp_path, base_url="http://127.0.0.1:9")
    with pytest.raises(UsageError, match="no data set is called 'x'"):
        is_downloaded("x", tmp_path)


@pytest.mark.parametrize("address", ["file:///etc", "zenodo.org", "ftp://zenodo.org", "http://", "http://[bad"])
def test_an_address_that_is_not_of_the_web_is_a_usage_error(tmp_path: Path, address: str) -> None:
    with pytest.raises(UsageError, match="not an address of the web"):
        download("ben-ge-800", tmp_path, base_url=address)


def test_a_network_without_an_answer_is_a_data_error_that_says_to_run_again(site: Site, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"broke off: .*run the same again"):
        download("ben-ge-800", tmp_path, base_url="http://127.0.0.1:1")


def test_a_busy_server_is_asked_again_and_a_refusal_is_final(site: Site, tmp_path: Path) -> None:
    site.statuses = [503, 429]
    assert files_in(fetch(site, tmp_path / "one")) == CONTENT
    site.statuses = [404, 200]
    with pytest.raises(DataError, match="the server refuses: 404"):
        fetch(site, tmp_path / "two")
    assert site.statuses == [200]


@pytest.mark.parametrize(
    "description",
    [
        b"<html>",
        b"[]",
        b'{"files": [{"key": "a", "size": 1}]}',
        b'{"files": [{"key": "../a", "size": 1, "checksum": "md5:00000000000000000000000000000000", "links": {"self": "http://x/a"}}]}',
        b'{"files": [{"key": "..", "size": 1, "checksum": "md5:00000000000000000000000000000000", "links": {"self": "http://x/a"}}]}',
        b'{"files": [{"key": "a", "size": 1, "checksum": "none", "links": {"self": "http://x/a"}}]}',
        b'{"files": [{"key": "a", "size": 1, "checksum": "md5:00000000000000000000000000000000", "links": {"self": "file:///etc/passwd"}}]}',
    ],
)
def test_a_description_that_is_not_understood_is_a_data_error(site: Site, tmp_path: Path, description: bytes) -> None:
    site.description = description
    with pytest.raises(DataError, match=r"api/records/12941231: the record's description is not understood"):
        fetch(site, tmp_path)


def test_a_disk_that_is_too_small_is_noticed_beforehand(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(DataError, match=r"needs at least 0\.0 GB of disk space, 0\.0 GB are free"):
        fetch(site, tmp_path)
    assert site.asked == []


def test_a_folder_that_cannot_be_made_is_a_data_error(site: Site, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DataError, match="can't be written"):
        fetch(site, tmp_path / "file")


def test_progress_counts_up_to_the_size(site: Site, tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    leave_part(site, tmp_path, 1000)
    fetch(site, tmp_path, progress=lambda *news: seen.append(news))
    size = len(site.files["ben-ge-800.tar.gz"])
    assert {(key, total) for _, total, key in seen} == {("ben-ge-800.tar.gz", size)}
    counts = [count for count, _, _ in seen]
    assert counts == sorted(counts)
    assert counts[0] > 1000
    assert counts[-1] == size


HEAD = b"HTTP/1.1 200 OK\r\n"


def drip(first: bytes, piece: bytes) -> Iterator[bytes]:
    """Pieces without an end, slowly."""
    yield first
    while True:
        time.sleep(0.02)
        yield piece


@pytest.mark.parametrize(
    ("first", "piece"),
    [(HEAD, b"X-Header: 1\r\n"), (HEAD + b"X-Header: ", b"a"), (HEAD + b"\r\n", b" ")],
    ids=["heads", "a head", "bytes"],
)
def test_a_server_that_drips_is_left(site: Site, tmp_path: Path, monkeypatch, first: bytes, piece: bytes) -> None:
    monkeypatch.setattr(web, "TIMEOUT_S", 0.1)
    monkeypatch.setattr(transfer, "PAUSES_SECONDS", ())
    site.raw = drip(first, piece)
    with pytest.raises(DataError, match="the download broke off"):
        fetch(site, tmp_path)


def test_a_description_without_an_end_is_an_error(site: Site, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("EOFUSE_MAX_JSON_MB", "1")
    site.raw = [HEAD + b"\r\n", *[bytes(2**16)] * 100]
    with pytest.raises(DataError, match="description has more than 1 MB"):
        fetch(site, tmp_path)


@pytest.mark.parametrize(
    "place",
    [
        "http://[",
        "http://a:99999999/",
        "http://a:x/",
        "ftp://127.0.0.1/a",
        "file:///etc/passwd",
        "data:,a",
        "//",
        "http://" + "a" * 100 + ".b/",
        "http:///x",
        "\x01",
    ],
)
def test_a_server_that_leads_elsewhere_is_not_followed(site: Site, tmp_path: Path, place: str) -> None:
    answer = f"HTTP/1.1 302 Found\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n".encode()
    site.raw = [answer]
    with pytest.raises(DataError, match=r"the server's answer can't be used|the server refuses"):
        fetch(site, tmp_path)
    assert list(tmp_path.rglob("passwd")) == []


def test_a_server_that_leads_in_a_circle_is_an_error(site: Site, tmp_path: Path) -> None:
    answer = f"HTTP/1.1 302 Found\r\nLocation: {site.address}/a\r\nContent-Length: 0\r\n\r\n".encode()
    site.raw = [answer]
    with pytest.raises(DataError, match="the server refuses: 302"):
        fetch(site, tmp_path)


@pytest.mark.parametrize(
    "entry",
    [
        {"key": "a\0b"},
        {"key": "a\x1b[31m"},
        {"key": "a\nb"},
        {"key": "x" * 300},
        {"key": "unpacked"},
        {"key": "download.json"},
        {"key": 5},
        {"size": 10**400},
        {"size": 1.5},
        {"checksum": None},
        {"checksum": "md5:0"},
        {"links": []},
        {"links": {"self": "http://["}},
    ],
    ids=str,
)
def test_a_description_that_means_harm_is_a_data_error(site: Site, tmp_path: Path, entry: dict[str, Any]) -> None:
    right = {"key": "a", "size": 1, "checksum": "md5:00000000000000000000000000000000", "links": {"self": site.address}}
    site.description = json.dumps({"files": [{**right, **entry}]}).encode()
    with pytest.raises(DataError, match="the record's description is not understood"):
        fetch(site, tmp_path)


def test_two_files_of_one_name_are_an_error(site: Site, tmp_path: Path) -> None:
    right = {"key": "a", "size": 1, "checksum": "md5:00000000000000000000000000000000", "links": {"self": site.address}}
    site.description = json.dumps({"files": [right, right]}).encode()
    with pytest.raises(DataError, match="two files of the name 'a'"):
        fetch(site, tmp_path)


def zip_bomb() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as zipped:
        zipped.writestr("a", bytes(10**8 + 5 * 2**20))
    return buffer.getvalue()


def sparse_tar() -> bytes:
    entry = tarfile.TarInfo("a")
    entry.type, entry.size = tarfile.GNUTYPE_SPARSE, 512
    head = bytearray(entry.tobuf(tarfile.GNU_FORMAT))
    head[386:410] = b"%011o\0%011o\0" % (2**31, 512)  # the one piece that there is
    head[483:495] = b"%011o\0" % (2**32 - 1)  # the whole
    head[148:156] = b"        "
    head[148:156] = b"%06o\0 " % sum(head)
    return gzip.compress(bytes(head) + bytes(512 * 3))


def tar_with_a_long_head() -> bytes:
    entry = tarfile.TarInfo("a")
    entry.type, entry.size = tarfile.XHDTYPE, 2**28
    return gzip.compress(entry.tobuf(tarfile.PAX_FORMAT) + bytes(2**22))


@pytest.mark.parametrize(
    ("key", "make", "words"),
    [
        ("ben-ge-800.zip", zip_bomb, "packs 100 times or more and unpacks to 100 MB"),
        ("ben-ge-800.tar.gz", sparse_tar, "packs 100 times or more and unpacks to 4,096 MB"),
        ("ben-ge-800.tar.gz", tar_with_a_long_head, "the archive is damaged: a head is too large"),
    ],
)
def test_an_archive_that_unpacks_to_much_is_refused(
    site: Site, tmp_path: Path, key: str, make: Any, words: str
) -> None:
    site.files = {key: make()}
    with pytest.raises(DataError, match=words):
        fetch(site, tmp_path)
    assert sum(path.stat().st_blocks * 512 for path in tmp_path.rglob("*")) < 2**22
