"""A headless browser that does what a user does: Chromium, spoken to over pipes by its DevTools protocol."""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-component-update",
    "--disable-background-networking", "--disable-sync", "--hide-scrollbars", "--remote-debugging-pipe",
)  # fmt: skip
PATIENCE = 60.0

KEYS = {"Enter": 13, "Escape": 27, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Tab": 9}


class Browser:
    """One browser with one page; use it in a `with` block.

    Attributes:
        requests: addresses that the page asked for, since it was opened.
        messages: what it wrote to the console, and errors that nobody caught.
    """

    def __init__(self, profile: Path) -> None:
        assert BROWSER, "CI needs chromium"
        self.requests: list[str] = []
        self.messages: list[str] = []
        (theirs_in, self._out), (self._in, theirs_out) = os.pipe(), os.pipe()

        def pipes() -> None:  # the browser reads from 3 and writes to 4
            reading, writing = os.dup(theirs_in), os.dup(theirs_out)
            os.dup2(reading, 3)
            os.dup2(writing, 4)

        command = [BROWSER, *OPTIONS, f"--user-data-dir={profile}", "about:blank"]
        nowhere = subprocess.DEVNULL
        self._process = subprocess.Popen(
            command, stdin=nowhere, stdout=nowhere, stderr=nowhere, close_fds=False, preexec_fn=pipes
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._number, self._rest, self._session = 0, b"", ""
        target = next(each for each in self._ask("Target.getTargets")["targetInfos"] if each["type"] == "page")
        self._session = self._ask("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self._ask(f"{domain}.enable")

    def __enter__(self) -> "Browser":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def open(self, path: Path, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Opens a file in a window, and waits until it is drawn."""
        self._ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self._ask("Emulation.setEmulatedMedia", features=scheme)
        self._ask("Page.navigate", url=path.as_uri())
        self.wait(f"document.readyState === 'complete' && location.href === {json.dumps(path.as_uri())}")
        self.settle()

    def settle(self) -> None:
        """Waits until what was done is drawn."""
        self("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 0))))")

    def __call__(self, code: str) -> Any:
        """The value of an expression in the page; of a promise, what it becomes."""
        found = self._ask("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def wait(self, code: str) -> None:
        """Waits until an expression is true."""
        end = time.monotonic() + PATIENCE
        while not self(code):
            assert time.monotonic() < end, f"never true: {code}"
            time.sleep(0.02)

    def box(self, selector: str) -> tuple[float, float, float, float]:
        """Left, top, width and height of an element, scrolled into view."""
        code = (
            f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.scrollIntoView({{block: 'center'}});"
            "const b = e.getBoundingClientRect(); return [b.left, b.top, b.width, b.height]; })()"
        )
        left, top, width, height = self(code)
        return left, top, width, height

    def mouse(self, kind: str, left: float, top: float, modifiers: int = 0) -> None:
        """A mouse event: `mousePressed`, `mouseMoved` or `mouseReleased` at a place in the window."""
        button = {"button": "left", "clickCount": 1} if kind != "mouseMoved" else {"button": "left", "buttons": 1}
        self._ask("Input.dispatchMouseEvent", type=kind, x=left, y=top, modifiers=modifiers, **button)

    def click(self, selector: str) -> None:
        """Clicks in the middle of an element."""
        left, top, width, height = self.box(selector)
        self.drag([(left + width / 2, top + height / 2)])

    def drag(self, path: list[tuple[float, float]], modifiers: int = 0) -> None:
        """Presses at the first place, goes along the others and releases at the last."""
        self.mouse("mousePressed", *path[0], modifiers)
        for place in path[1:]:
            self.mouse("mouseMoved", *place, modifiers)
        self.mouse("mouseReleased", *path[-1], modifiers)
        self.settle()

    def press(self, *keys: str) -> None:
        """Presses keys, one after the other."""
        for key in keys:
            code = {"key": key, "windowsVirtualKeyCode": KEYS.get(key, ord(key[0].upper()))}
            text = {"text": "\r"} if key == "Enter" else {"text": key} if len(key) == 1 else {}
            self._ask("Input.dispatchKeyEvent", type="keyDown", **code, **text)
            self._ask("Input.dispatchKeyEvent", type="keyUp", **code)
        self.settle()

    def picture(self, path: Path, whole: bool = False) -> None:
        """Writes what is seen, or the whole page, as PNG."""
        found = self._ask("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))

    def _ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + PATIENCE
        while True:
            answer = self._next(end - time.monotonic(), method)
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                return dict(answer["result"])
            self._hear(answer)

    def _next(self, seconds: float, method: str) -> dict[str, Any]:
        end = time.monotonic() + seconds
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._in], [], [], max(end - time.monotonic(), 0))
            assert ready, f"no answer to {method}"
            part = os.read(self._in, 1 << 20)
            assert part, f"the browser ended before it answered {method}"
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(line))

    def _hear(self, event: dict[str, Any]) -> None:
        method, told = event.get("method"), event.get("params", {})
        if method == "Page.frameStartedNavigating" or method == "Page.frameStartedLoading":
            self.requests, self.messages = [], []
        elif method == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif method == "Runtime.consoleAPICalled":
            self.messages.append(str([each.get("value") for each in told["args"]]))
        elif method == "Runtime.exceptionThrown":
            details = told["exceptionDetails"]
            self.messages.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Log.entryAdded":
            self.messages.append(told["entry"]["text"])
