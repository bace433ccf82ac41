"""A web server on the loopback that serves parts of files, counts what it is asked, and fails as told."""

import http.server
import re
import threading
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path


class RangeServer:
    """Serves a folder.

    Attributes:
        requests: (method, path) of each request.
        faults: path → what is done in place of an answer, one after another: a status, "cut" (half of the bytes) or "slow".
        answers: path → function that gives JSON for the query behind it.
        latency: seconds before each answer.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.requests, self.faults, self.answers = folder, [], {}, {}
        self._anew, self.latency = 0, 0.0
        owner = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None: ...

            def do_HEAD(self) -> None:
                owner._answer(self, with_body=False)

            def do_GET(self) -> None:
                owner._answer(self, with_body=True)

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # a client that goes away
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def counts(self, suffix: str = ".tif") -> Counter[str]:
        """Requests by path, of paths that end so."""
        return Counter(path for _, path in self.requests if path.endswith(suffix))

    def anew(self) -> str:
        """Another address of the same folder, of which GDAL keeps nothing in its cache."""
        self._anew += 1
        return f"{self.url}/anew{self._anew}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @contextmanager
    def failing(self, faults):
        """Fails so, and forgets it afterwards."""
        self.faults = {path: list(each) for path, each in faults.items()}
        self.requests.clear()
        yield
        self.faults = {}

    def _answer(self, handler, with_body: bool) -> None:
        path, _, query = handler.path.partition("?")
        path = re.sub(r"^/anew\d+", "", path)
        self.requests.append((handler.command, path))
        time.sleep(self.latency)
        queue = self.faults.get(path)
        fault = queue.pop(0) if queue else None
        if isinstance(fault, int):
            self._send(handler, fault, b"", {}, with_body)
            return
        if path in self.answers:
            self._send(handler, 200, self.answers[path](query), {"Content-Type": "application/json"}, with_body)
            return
        file = self.folder / path.lstrip("/")
        if not file.is_file():
            self._send(handler, 404, b"", {}, with_body)
            return
        size = file.stat().st_size
        first, last, code = 0, size - 1, 200
        if match := re.fullmatch(r"bytes=(\d+)-(\d*)", handler.headers.get("Range", "")):
            first, last, code = int(match[1]), min(int(match[2] or size - 1), size - 1), 206
        if first > last:
            self._send(handler, 416, b"", {}, with_body)
            return
        with file.open("rb") as opened:
            opened.seek(first)
            body = opened.read(last - first + 1)
        headers = {"Accept-Ranges": "bytes"}
        if code == 206:
            headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        if fault == "slow":
            time.sleep(1.5)
        self._send(handler, code, body, headers, with_body, cut=fault == "cut")

    def _send(self, handler, code: int, body: bytes, headers, with_body: bool, cut: bool = False) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        if with_body:
            handler.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            handler.close_connection = True
