"""Downloads from servers that answer anything: odd heads, other places, no end, spoilt records and archives."""

import hashlib
import http.server
import io
import json
import random
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .cases import Case, Outcome, World, judge
from .commands import eofuse
from .mutations import change_bytes, change_value, to_json
from .site import published

Answers = dict[str, Callable[[], Iterator[bytes]]]
"""What a server answers, by path."""

Pages = dict[str, bytes]
"""What it would answer, were nothing odd about it."""

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

ODD_ANSWERS = ("answer", "answer", "drip", "place")
"""Ways to answer that have nothing to do with what is fetched."""

ODD_PATHS = (
    *("../a", "/tmp/a", "a/../../b", "./a", "a//b", "a/", ".", "..", "", "~", "~/a", "..\\a", "C:\\a", "C:a", "//a/b"),
    *(
        "x" * 300,
        "a" + "/a" * 2000,
        "é" * 200,
        "a\0b",
        "a\nb",
        "\x1b[31m",
        "\u202e",
        "\ud800",
        "%2e%2e/a",
        "%00",
        "?a",
        "#a",
    ),
    *("download.json", "published.json", "README.md.part", "README.md", "unpacked/a", "patches", "[/red]", "a "),
)
"""Where a list of files may want to write."""

SIZES = (0, -1, 1, 2**31, 2**62, 2**63, 10**18, 10**400, 1.5, 1e308, float("nan"), float("inf"), True, None, "7", [7])
DIGESTS = ("", "0", "0" * 64, "sha256:" + "0" * 64, "é" * 64, "\x1b[31m", "x" * 100_000, None, 5, [], "\0")
"""Bytes, and digests, that a file may be said to have."""


def run(case: Case, world: World) -> Outcome:
    """One case of a data set of the archive."""
    return _fetch(case, world, ["download", "ben-ge-800", "--base-url"], "", _answers)[0]


def run_folder(case: Case, world: World) -> Outcome:
    """One case of a published folder, whose list of files may say anything; what comes is what the list says."""
    outcome, pages = _fetch(case, world, ["download"], "/fields", _answers_of_folder)
    if outcome.kind == "accepted" and (why := _differs(world.root / "case", pages)):
        return Outcome("wrong", f"{outcome.words}\n    {why}")
    return outcome


def _fetch(
    case: Case, world: World, argv: list[str], path: str, answers_of: Callable[..., tuple["Answers", str, "Pages"]]
) -> tuple[Outcome, "Pages"]:
    """What becomes of a download from a server of this case's answers; and the pages that it has."""
    folder = world.folder()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    address = f"http://127.0.0.1:{server.server_address[1]}"
    answers, words, pages = answers_of(address, case.random, world.root)

    def before() -> None:
        """The server lives in the process of the command, which waits for less time than it would elsewhere."""
        from eofuse.data import web
        from eofuse.data.download import transfer

        web.TIMEOUT_S = 0.3
        transfer.PAUSES_SECONDS = ()
        _Handler.answers = answers
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()

    ended = eofuse([*argv, f"{address}{path}"], folder, before)
    server.server_close()
    outcome = judge(ended, f"download{path and ' of a folder'}, {words}")
    beyond = [path for path in world.root.iterdir() if path.name not in ("case", "made")]
    if outcome.is_good and (beyond or _size(folder) > 2**28):
        outcome = Outcome("wrong", f"{outcome.words}\n    wrote {beyond or folder} of {_size(folder)} bytes")
    return outcome, pages


def _differs(folder: Path, pages: "Pages") -> str:
    """What is wrong with a folder that came, by its own list of files; nothing where it holds what was served."""
    markers = list(folder.glob("*/download.json"))
    if len(markers) != 1 or any(path != markers[0].parent for path in folder.iterdir()):
        return f"there are {sorted(path.name for path in folder.iterdir())}"
    place = markers[0].parent
    found = {path.relative_to(place).as_posix(): path.read_bytes() for path in place.rglob("*") if path.is_file()}
    listing = found.get("published.json", b"")
    expected = {entry["path"]: entry["sha256"] for entry in json.loads(listing)["files"]}
    expected["published.json"] = hashlib.sha256(pages["/fields/published.json"]).hexdigest()
    del found["download.json"]
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in found.items()}
    return "" if digests == expected else f"it holds {sorted(found)}, or other bytes than the list says"


def _size(folder: Path) -> int:
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*"))


class _Handler(http.server.BaseHTTPRequestHandler):
    answers: Answers

    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        self.close_connection = True
        try:
            for piece in self.answers.get(self.path, lambda: iter([b"HTTP/1.1 404 No\r\n\r\n"]))():
                self.wfile.write(piece)
        except OSError:
            return


def _answers(address: str, source: random.Random, root: Path) -> tuple[Answers, str, Pages]:
    """What the server of the archive answers, and what is odd about it."""
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
    return *_spoilt_answers(address, source, pages, way, words), pages


def _answers_of_folder(address: str, source: random.Random, root: Path) -> tuple[Answers, str, Pages]:
    """What the server of a published folder answers, and what is odd about it."""
    files = published("fields", random.Random(0).randbytes(5000))
    listing: Any = json.loads(files.pop("published.json"))
    way = source.choice([*["listing", "path", "size", "digest"] * 2, "text", "name", "content", "many", *ODD_ANSWERS])
    words, entry = way, source.choice(listing["files"])
    if way == "listing":
        listing, words = change_value(listing, source)
    elif way == "path":
        old, entry["path"] = entry["path"], source.choice([*ODD_PATHS, f"{root}/beyond", f"{entry['path']}/a"])
        files[entry["path"]] = files[old]
        words = f"path {entry['path'][:50]!r}"
    elif way == "size":
        entry["size"] = source.choice([*SIZES, entry["size"] + source.choice([-1, 1])])
        words = f"size {str(entry['size'])[:50]}"
    elif way == "digest":
        entry["sha256"] = source.choice([*DIGESTS, entry["sha256"].upper(), entry["sha256"][:-1]])
        words = f"digest {str(entry['sha256'])[:50]!r}"
    elif way == "name":
        listing["name"] = source.choice([*ODD_PATHS, str(root / "beyond"), 5, None, "CON", "a" * 100])
        words = f"name {str(listing['name'])[:50]!r}"
    elif way == "content":
        files[entry["path"]], words = change_bytes(files[entry["path"]], source)
        words = f"content {words}"
    elif way == "many":
        listing["files"] *= source.choice([2, 20_000])
    text = to_json(listing)
    if way == "text":
        text, words = change_bytes(text, source)
    pages = {f"/fields/{quote(name, errors='replace')}": content for name, content in files.items()}
    pages["/fields/published.json"] = text
    return *_spoilt_answers(address, source, pages, way, words), pages


def _spoilt_answers(address: str, source: random.Random, pages: Pages, way: str, words: str) -> tuple[Answers, str]:
    """The pages as answers, of which one is odd if the way is one of `ODD_ANSWERS`; and what is odd, in words."""
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
