"""Web servers that may be slow, broken, endless, or lead elsewhere.

`open_url` opens an address, `blocks` takes what it sends, `read_json` a whole description, and `retrying` repeats what they interrupt.
"""

import http.client
import logging
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from email.message import Message
from socket import SHUT_RDWR, socket
from typing import IO, Any, TypeVar
from urllib.parse import urlsplit

from eofuse.errors import DataError
from eofuse.limits import JSON

_logger = logging.getLogger(__name__)
_Result = TypeVar("_Result")

TIMEOUT_S = 60.0
"""Seconds for an answer to begin, and between two counts of what has come."""

SLOWEST = 1000
"""Bytes that come in a second, at least."""

BLOCK = 1 << 18


def open_url(url: str, headers: dict[str, str]) -> Any:
    """The opened response of an address that starts with `http` or `https`, also after redirections to such addresses.

    Raises:
        OSError: if it can't be opened, or its head does not come within `TIMEOUT_S`.
        http.client.HTTPException: if the answer is none.
        ValueError: if the server leads to something that is no address.
    """
    request = urllib.request.Request(url, headers={"User-Agent": "eofuse", **headers})
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.UnknownHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
        _Redirections,
        _Http,
        _Https,
    ):
        opener.add_handler(handler())
    return opener.open(request, timeout=TIMEOUT_S)


def blocks(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """What a server sends, block by block.

    Raises:
        TimeoutError: if less than `SLOWEST` bytes a second come.
    """
    began, count = time.monotonic(), 0
    while block := response.read1(BLOCK):
        count += len(block)
        if time.monotonic() - began > TIMEOUT_S:
            if count < SLOWEST * TIMEOUT_S:
                raise TimeoutError(f"the server sends only {count / TIMEOUT_S:.0f} bytes a second")
            began, count = time.monotonic(), 0
        yield block


def read_json(url: str, too_large: str) -> bytes:
    """What an address has for programs.

    Args:
        url: the address.
        too_large: how the message begins if it is larger than JSON may be: 'has'.

    Raises:
        DataError: if it is too large; what `open_url` and `blocks` raise.
    """
    content = b""
    with open_url(url, {"Accept": "application/json"}) as response:
        for block in blocks(response):
            content += block
            JSON.check(len(content), too_large, url)
    return content


def retrying(action: Callable[[], _Result], where: str, pauses: Iterable[float], given_up: str, fix: str) -> _Result:
    """Repeats what the network interrupts.

    Args:
        action: what is done.
        where: the address, for messages.
        pauses: seconds before each further try.
        given_up: how the message begins if the last try failed.
        fix: what to do then.

    Raises:
        DataError: if the server refuses, its answer is none, or the last try failed.
    """
    for pause in (*pauses, None):
        try:
            return action()
        except urllib.error.HTTPError as error:
            error.close()
            if error.code < 500 and error.code not in (408, 425, 429):
                what = f"the server refuses: {error.code} {error.reason}"
                raise DataError(what, where=where, fix="check the address") from None
            problem = f"{error.code} {error.reason}"
        except (ValueError, OverflowError, http.client.InvalidURL) as error:  # of an address or a head
            what = f"the server's answer can't be used: {error}"
            raise DataError(what, where=where, fix="check the address") from None
        except (OSError, http.client.HTTPException) as error:
            problem = str(getattr(error, "reason", error)) or type(error).__name__
        if pause is not None:
            _logger.info("%s: %s; trying again in %g s", where, problem, pause)
            time.sleep(pause)
    raise DataError(f"{given_up}: {problem}", where=where, fix=fix)


class _Redirections(urllib.request.HTTPRedirectHandler):
    """Follows a server to addresses of the web alone, and not from an encrypted one to another."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        parts = urlsplit(newurl)
        allowed = ("https",) if req.type == "https" else ("http", "https")
        if parts.scheme not in allowed or not parts.hostname:
            raise ValueError(f"the server leads to {newurl[:200]!r}")
        _ = parts.port  # a ValueError if it is none
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


@contextmanager
def _in_time(connection: socket) -> Iterator[None]:
    """Ends a connection if the block takes longer than the timeout, however the bytes drip."""
    too_late = threading.Event()

    def end() -> None:
        too_late.set()
        with suppress(OSError):
            connection.shutdown(SHUT_RDWR)

    timer = threading.Timer(TIMEOUT_S, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
    if too_late.is_set():  # http.client takes the end for that of the head
        raise TimeoutError("the head of the answer takes too long")


class _Connection(http.client.HTTPConnection):
    def getresponse(self) -> http.client.HTTPResponse:
        with _in_time(self.sock):
            return super().getresponse()


class _SafeConnection(http.client.HTTPSConnection):
    def getresponse(self) -> http.client.HTTPResponse:
        with _in_time(self.sock):
            return super().getresponse()


class _Http(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Connection, req)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_SafeConnection, req)
