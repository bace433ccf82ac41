"""A web server that stands in for the archive of data sets: it runs beside the commands until the harness ends."""

import ctypes
import hashlib
import http.server
import io
import json
import os
import random
import signal
import tarfile
from contextlib import suppress

from .cases import World
from .commands import COMPANIONS


def site(world: World) -> str:
    """The address of the server, which is started the first time: the data set ben-ge-800 in a small form, and a published folder."""
    if "site" not in world.kept:
        world.kept["site"] = _start()
    return str(world.kept["site"])


def _start() -> str:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    address = f"http://127.0.0.1:{server.server_address[1]}"
    pid = os.fork()
    if pid == 0:
        try:
            ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG: it ends with the harness
            _Handler.files = _files(address)
            server.serve_forever()
        finally:
            os._exit(1)
    server.socket.close()
    COMPANIONS.add(pid)
    return address


def _files(address: str) -> dict[str, bytes]:
    """What is served, by path."""
    content = random.Random(0).randbytes(400_000)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name in ("ben-ge-800_meta.csv", "dem/P1_dem.tif", "dem/P2_dem.tif"):
            member = tarfile.TarInfo(f"ben-ge-800/{name}")
            member.size = len(content) // 3
            archive.addfile(member, io.BytesIO(content))
    files = {"ben-ge-800.tar.gz": packed.getvalue(), "README.md": b"read me"}
    entries = [
        {
            "key": name,
            "size": len(bytes_),
            "checksum": f"md5:{hashlib.md5(bytes_).hexdigest()}",
            "links": {"self": f"{address}/files/{name}"},
        }
        for name, bytes_ in files.items()
    ]
    record = json.dumps({"files": entries}).encode()
    served = {"/api/records/12941231": record} | {f"/files/{name}": bytes_ for name, bytes_ in files.items()}
    return served | {f"/fields/{name}": bytes_ for name, bytes_ in published("fields", content).items()}


def published(name: str, content: bytes) -> dict[str, bytes]:
    """A folder as `eofuse publish` writes it: its files by their paths, with the list of them."""
    files = {"README.md": b"read me", "patches/one.tif": content[::2], "patches/two.tif": content[1::2]}
    listed = [
        {"path": path, "size": len(bytes_), "sha256": hashlib.sha256(bytes_).hexdigest()}
        for path, bytes_ in files.items()
    ]
    listing = {"format": "eofuse published 1", "name": name, "form": "geotiff", "files": listed}
    return {**files, "published.json": json.dumps(listing).encode()}


class _Handler(http.server.BaseHTTPRequestHandler):
    files: dict[str, bytes]

    def log_message(self, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        content = self.files.get(self.path)
        start = int(self.headers.get("Range", "bytes=0-")[6:-1])
        if content is None:
            self.send_error(404)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        with suppress(OSError):  # whoever asked was killed
            self.wfile.write(content[start:])
