"""Downloads from servers that answer anything: odd heads, other places, no end, spoilt records and archives."""

import hashlib
import http.server
import io
import random
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .cases import Case, Outcome, World, judge
from .commands import eofuse
from .mutations import change_bytes, change_value, to_json

RECORD = "/api/records/12941231"
HEAD = b"HTTP/1.1 200 OK\r\n"
PLACES = (
    "http://[",
    "http://a:99999999/",
    "ftp://127.0.0.1/",
    "file:///etc/passwd",
    "//",
    "",
    "\x01",
    "https://127.0.0.1:1/",
    "/files/x",
    "?",
    "#",
)
"""Where a server may lead."""


def run(case: Case, world: World) -> Outcome:
    """One case."""
    source = case.random
    folder = world.folder()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    address = f"http://127.0.0.1:{server.server_address[1]}"
    answers, words = _answers(address, source)

    def before() -> None:
        """The server lives in the process of the command, which waits for less time than it would elsewhere."""
        from eofuse.data import web
        from eofuse.data.download import transfer

        web.TIMEOUT_S = 0.3
        transfer.PAUSES_SECONDS = ()
        _Handler.answers = answers
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    ended = eofuse(["download", "ben-ge-800", "--base-url", address], folder, before)
    server.server_close()
    outcome = judge(ended, f"download, {words}")
    beyond = [path for path in world.root.iterdir() if path.name not in ("case", "made")]
    if outcome.is_good and (beyond or _size(folder) > 2**28):
        return Outcome("wrong", f"{outcome.words}\n    wrote {beyond or folder} of {_size(folder)} bytes")
    return outcome


def _size(folder: Path) -> int:
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*"))


class _Handler(http.server.BaseHTTPRequestHandler):
    answers: dict[str, Callable[[], Iterator[bytes]]]

    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        self.close_connection = True
        try:
            for piece in self.answers.get(self.path, lambda: iter([b"HTTP/1.1 404 No\r\n\r\n"]))():
                self.wfile.write(piece)
        except OSError:
            return


def _answers(address: str, source: random.Random) -> tuple[dict[str, Callable[[], Iterator[bytes]]], str]:
    """What the server answers, by path, and what is odd about it."""
    way = source.choice(
        [
            "record",
            "record",
            "record text",
            "archive",
            "archive",
            "members",
            "bomb",
            "answer",
            "answer",
            "drip",
            "place",
        ]
    )
    words = way
    name, content = _archive(source, odd=way == "members")
    if way == "archive":
        content, words = change_bytes(content, source)
    elif way == "bomb":
        name, content = _bomb(source)
    entry: dict[str, Any] = {
        "key": name,
        "size": len(content),
        "checksum": f"md5:{hashlib.md5(content).hexdigest()}",
        "links": {"self": f"{address}/file"},
    }
    record: Any = {"id": 1, "files": [entry]}
    if way == "record":
        record, words = change_value(record, source)
    text = to_json(record)
    if way == "record text":
        text, words = change_bytes(text, source)
    pages = {RECORD: text, "/file": content}
    spoilt = source.choice(list(pages))
    answers = {path: _sound(page) for path, page in pages.items()}
    if way == "answer":
        head = _odd_head(source, len(pages[spoilt]))
        words = f"{spoilt} {head[:60]!r}"
        answers[spoilt] = lambda: iter([head, pages[spoilt]])
    elif way == "place":
        place = source.choice([*PLACES, f"{address}{spoilt}", "x" * 10_000])
        words = f"{spoilt} leads to {place[:50]!r}"
        answers[spoilt] = lambda: iter([f"HTTP/1.1 302 Found\r\nLocation: {place}\r\n\r\n".encode()])
    elif way == "drip":
        first, piece = source.choice(
            [(HEAD + b"\r\n", b" "), (HEAD, b"X: 1\r\n"), (b"", b"H"), (HEAD + b"\r\n", bytes(2**20))]
        )
        words = f"{spoilt} drips {piece[:10]!r}"
        answers[spoilt] = lambda: _drip(first, piece)
    return answers, words


def _sound(page: bytes) -> Callable[[], Iterator[bytes]]:
    return lambda: iter([HEAD + b"Content-Length: %d\r\n\r\n" % len(page), page])


def _drip(first: bytes, piece: bytes) -> Iterator[bytes]:
    import time

    yield first
    while True:
        if len(piece) < 100:
            time.sleep(0.01)
        yield piece


def _odd_head(source: random.Random, size: int) -> bytes:
    status = source.choice(
        [
            b"200 OK",
            b"200",
            b"206 Part",
            b"204 No",
            b"100 Continue",
            b"500 No",
            b"304 Same",
            b"999 A",
            b"abc",
            b"-1 A",
            b"416 No",
        ]
    )
    lines = [
        b"Content-Length: %d" % size,
        b"Content-Length: -5",
        b"Content-Length: " + b"9" * 5000,
        b"Content-Length: a",
        b"Transfer-Encoding: chunked",
        b"Content-Encoding: gzip",
        b"Content-Range: bytes 5-9/10",
        b"Content-Range: bytes " + b"9" * 5000 + b"-9/10",
        b"X: " + b"a" * 70_000,
        b"\xff\xfe",
        b"Location: /",
        *[b"X: 1"] * 3,
    ]
    chosen = source.sample(lines, source.randint(0, 4))
    if source.random() < 0.1:
        chosen += [b"X: 1"] * 200
    return b"\r\n".join(
        [source.choice([b"HTTP/1.1 ", b"HTTP/1.1 ", b"HTTP/9 ", b"", b"\0"]) + status, *chosen, b"", b""]
    )


def _archive(source: random.Random, odd: bool) -> tuple[str, bytes]:
    ending = source.choice([".tar.gz", ".zip", ".tar", ".tgz", ".tar.bz2", ".tar.xz"])
    names = ["ben-ge-800/ben-ge-800_meta.csv", "ben-ge-800/dem/P1_dem.tif"]
    if odd:
        names += source.sample(
            [
                "../a",
                "/tmp/a",
                "a/../../b",
                "x" * 300,
                "a" + "/a" * 2000,
                "\x1b[31m",
                "C:\\a",
                "",
                ".",
                "ben-ge-800/dem",
                "dem\0b",
                "download.json",
                "é",
            ],
            2,
        )
    packed = io.BytesIO()
    if ending == ".zip":
        with zipfile.ZipFile(packed, "w") as archive:
            for name in names:
                archive.writestr(name or "a", b"content")
        return f"a{ending}", packed.getvalue()
    mode: Any = {".tar.gz": "w:gz", ".tgz": "w:gz", ".tar": "w", ".tar.bz2": "w:bz2", ".tar.xz": "w:xz"}[ending]
    with tarfile.open(fileobj=packed, mode=mode) as tar:
        for name in names:
            member = tarfile.TarInfo(name)
            if odd:
                member.type = source.choice(
                    [tarfile.REGTYPE] * 4
                    + [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE]
                )
                member.linkname = source.choice(["/etc/passwd", "../..", "a"])
                member.mode = source.choice([0, 0o777, 0o4777])
            member.size = 7 if member.isreg() else 0
            tar.addfile(member, io.BytesIO(b"content"))
    return f"a{ending}", packed.getvalue()


def _bomb(source: random.Random) -> tuple[str, bytes]:
    size = source.choice([2**27, 2**28])
    packed = io.BytesIO()
    if source.random() < 0.5:
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a", bytes(size))
        return "a.zip", packed.getvalue()
    with tarfile.open(fileobj=packed, mode=source.choice(["w:gz", "w:xz"])) as tar:
        member = tarfile.TarInfo("a")
        member.size = size
        if source.random() < 0.3:
            member.type = tarfile.XHDTYPE
        tar.addfile(member, io.BytesIO(bytes(size)))
    content = packed.getvalue()
    return "a.tar.gz" if content[:2] == b"\x1f\x8b" else "a.tar.xz", content
