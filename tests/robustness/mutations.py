"""Changes of files that somebody or something spoilt: of values, of bytes, and of the heads of formats."""

import json
import math
import random
import struct
import sys
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

HOSTILE: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    3,
    255,
    2**31,
    2**63,
    -(2**63),
    10**400,
    0.5,
    -0.0,
    1e-320,
    1e308,
    -1e308,
    math.nan,
    math.inf,
    -math.inf,
    "",
    " ",
    "a",
    "0",
    "-1",
    "nan",
    "null",
    "1e999",
    "2024-13-45",
    "0x_",
    "9" * 5000,
    "x" * 300,
    "x" * 100_000,
    "\0",
    "a\nb",
    "\x1b[31m",
    "\ud800",
    "\u202e",
    "é" * 300,
    "[/red]",
    "$\\frac{",
    "%s",
    "{",
    "{column}",
    "{scene}",
    "*",
    "(?P<scene>",
    "../../../etc/passwd",
    "/dev/zero",
    "http://127.0.0.1:9/",
    "EPSG:4326",
    "EPSG:999999",
    "EPSG:4978",
    [],
    {},
    [[]],
    [None],
    [1, "a"],
    {"": None},
    {"a": {"b": {"c": [1]}}},
    [0] * 10_000,
)
"""Values in place of right ones."""


DEEPEST = 400
"""Levels of a content in which values are changed."""


def nested(depth: int, value: Any = None) -> Any:
    """Lists within lists."""
    for _ in range(depth):
        value = [value]
    return value


def hostile(source: random.Random) -> Any:
    """A value that nobody expects."""
    if source.random() < 0.03:
        return nested(source.choice([20, 100, 300]))
    if source.random() < 0.1:
        return source.choice([source.randint(-1000, 1000), source.gauss(0, 10 ** source.randint(-5, 20))])
    return deepcopy(source.choice(HOSTILE))  # further changes may be made in it


def change_value(content: Any, source: random.Random) -> tuple[Any, str]:
    """A copy of nested lists and mappings with one to three changes, and what they are."""
    content = json.loads(json.dumps(content))
    words = []
    for _ in range(source.choice([1, 1, 1, 2, 3])):
        places = [(), *_places(content)]
        place = source.choice(places)
        if not place:
            place = source.choice(places)
        content, word = _change(content, place, source)
        words.append(f"{'.'.join(map(str, place))[:80]}: {word}")
    return content, "; ".join(words)


def _places(content: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for number, (key, value) in enumerate(items):
        if number < 40 and len(at) < DEEPEST:
            yield (*at, key)
            yield from _places(value, (*at, key))


def _change(content: Any, place: tuple[Any, ...], source: random.Random) -> tuple[Any, str]:
    if not place:
        value = hostile(source)
        return value, f"all is {_short(value)}"
    within = content
    for key in place[:-1]:
        within = within[key]
    key = place[-1]
    way = source.choice(["replace"] * 6 + ["delete", "rename", "copy", "add", "wrap", "swap"])
    if way == "delete":
        del within[key]
        return content, "deleted"
    if way == "rename" and isinstance(within, dict):
        name = source.choice(["", "x" * 300, "\0", str(key).upper(), f"{key}s", "\ud800", "1", " "])
        within[name] = within.pop(key)
        return content, f"renamed {_short(name)}"
    if way == "copy" and isinstance(within, list):
        within.extend([within[key]] * source.choice([1, 2, 50]))
        return content, "repeated"
    if way == "add" and isinstance(within, dict):
        within[source.choice(["a", "simulated", "name", "\0", "é"])] = hostile(source)
        return content, "another key"
    if way == "wrap":
        within[key] = [within[key]]
        return content, "in a list"
    if way == "swap":
        other = source.choice(list(_places(content)) or [place])
        found = content
        for part in other:
            found = found[part]
        within[key] = json.loads(json.dumps(found))
        return content, f"is {'.'.join(map(str, other))[:60]}"
    value = hostile(source)
    within[key] = value
    return content, f"is {_short(value)}"


def _short(value: Any) -> str:
    text = ascii(value) if not isinstance(value, int) or abs(value) < 10**20 else "a large number"
    return text if len(text) < 50 else f"{text[:50]}…"


def to_json(value: Any) -> bytes:
    """JSON, also of what is none."""
    return _flow(value, nan="NaN", infinity="Infinity").encode()


def to_yaml(value: Any) -> bytes:
    """YAML in the flow style, also of what is none."""
    return _flow(value, nan=".nan", infinity=".inf").encode()


def _flow(value: Any, nan: str, infinity: str) -> str:
    """The text of a value, however deep; the commands keep the limit with which Python begins."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(10_000)  # which the stack has room for
    try:
        return _text(value, nan, infinity)
    finally:
        sys.setrecursionlimit(limit)


def _text(value: Any, nan: str, infinity: str) -> str:
    if isinstance(value, dict):
        return (
            "{"
            + ", ".join(f"{json.dumps(str(key))}: {_text(each, nan, infinity)}" for key, each in value.items())
            + "}"
        )
    if isinstance(value, list):
        return "[" + ", ".join(_text(each, nan, infinity) for each in value) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return nan if math.isnan(value) else f"{'-' if value < 0 else ''}{infinity}"
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 10**300:
        return "1" + "0" * 400
    return json.dumps(value)


def change_bytes(content: bytes, source: random.Random) -> tuple[bytes, str]:
    """Flipped, cut, longer, moved, zeroed or other bytes; damage at both ends is likelier than in the middle."""
    if not content:
        return source.randbytes(10), "bytes in an empty file"
    way = source.choice(["flip", "flip", "flip", "cut", "longer", "move", "zero", "other", "insert", "number", "empty"])
    at = _offset(len(content), source)
    length = min(len(content) - at, source.choice([1, 2, 4, 8, 64, 1000]))
    changed = bytearray(content)
    if way == "flip":
        for _ in range(source.choice([1, 1, 2, 8])):
            where = _offset(len(content), source)
            changed[where] ^= 1 << source.randrange(8)
    elif way == "cut":
        del changed[at:]
    elif way == "longer":
        changed += source.choice([b"\0", b"\xff", b"\n", source.randbytes(1)]) * source.choice([1, 100, 100_000])
    elif way == "move":
        start = source.randrange(len(content))
        changed[at : at + length] = content[start : start + length]
    elif way == "zero":
        changed[at : at + length] = bytes(length)
    elif way == "other":
        changed[at : at + length] = source.randbytes(length)
    elif way == "insert":
        changed[at:at] = source.randbytes(length)
    elif way == "number":
        number = struct.pack(source.choice("<>") + "q", source.choice([0, -1, 2**31 - 1, 2**31, 2**62, -(2**63)]))
        width = source.choice([2, 4, 8])
        changed[at : at + width] = number[:width]
    else:
        changed = bytearray()
    return bytes(changed), f"{way} at {at} of {len(content)}"


def _offset(size: int, source: random.Random) -> int:
    part = source.random()
    if part < 0.35:
        return source.randrange(min(size, 400))
    if part < 0.6:
        return size - 1 - source.randrange(min(size, 1500))
    return source.randrange(size)


def change_text(content: bytes, source: random.Random) -> tuple[bytes, str]:
    """Other words, lines and letters of a text."""
    lines = content.split(b"\n")
    at = source.randrange(len(lines))
    way = source.choice(["bytes", "word", "word", "word", "twice", "without", "letters"])
    if way == "bytes":
        return change_bytes(content, source)
    if way == "twice":
        lines.insert(at, lines[source.randrange(len(lines))])
    elif way == "without":
        del lines[at]
    elif way == "letters":
        encoding = source.choice(["utf-16", "utf-32", "utf-8-sig", "latin-1"])
        return content.decode("utf-8", "replace").encode(encoding, "replace"), encoding
    else:
        words = lines[at].split(b",")
        value = hostile(source)
        text = value if isinstance(value, str) else to_yaml(value).decode()
        words[source.randrange(len(words))] = text.encode("utf-8", "surrogatepass")
        lines[at] = b",".join(words)
        return b"\n".join(lines), f"line {at + 1}: {_short(value)}"
    return b"\n".join(lines), f"line {at + 1} {way}"


def change_tiff(content: bytes, source: random.Random) -> tuple[bytes, str]:
    """Another type, count or value of an entry of the first directory of a little-endian TIFF, else other bytes."""
    if content[:4] != b"II*\0" or source.random() < 0.3:
        return change_bytes(content, source)
    (start,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, start)
    changed = bytearray(content)
    words = []
    for _ in range(source.choice([1, 1, 2])):
        entry = start + 2 + 12 * source.randrange(count)
        tag, kind, length, value = struct.unpack_from("<HHII", changed, entry)
        part = source.choice(["value", "value", "value", "count", "type", "tag", "doubles"])
        number = source.choice([0, 1, 2, 3, 5, 7, 8, 42, 255, 256, 65535, 10**5, 2**24, 2**31 - 1, 2**31, 2**32 - 1])
        if part == "doubles" and kind == 12 and value + 8 * length <= len(content):
            double = source.choice([math.nan, math.inf, -math.inf, 0.0, -1.0, 1e308, 1e-308, 1e15, 200.0])
            struct.pack_into("<d", changed, value + 8 * source.randrange(length), double)
            words.append(f"tag {tag} holds {double}")
            continue
        field = {"tag": ("<H", 0), "type": ("<H", 2), "count": ("<I", 4)}.get(part, ("<I", 8))
        number &= 0xFFFF if field[0] == "<H" else 0xFFFFFFFF
        struct.pack_into(field[0], changed, entry + field[1], number)
        words.append(f"{part} of tag {tag} is {number}")
    return bytes(changed), ", ".join(words)


def change_npy(content: bytes, source: random.Random) -> tuple[bytes, str]:
    """Another head of an array in NumPy's format, else other bytes."""
    if source.random() < 0.4:
        return change_bytes(content, source)
    size = struct.unpack_from("<H", content, 8)[0]
    head = content[10 : 10 + size].decode("latin-1")
    old, new = source.choice(
        [
            ("(", f"({source.choice([0, 10**6, 10**9, 10**15, 2**63, 10**30])}, "),
            ("(", "(-1, "),
            ("'descr': '", "'descr': '" + source.choice([">", "|O", "<c", "|V", "<M8", "|S"])),
            ("False", "True"),
            ("'shape'", "'shap'"),
            ("{", source.choice(["", "{'a': 1, ", "[" * 100, "__import__('os').system('touch /tmp/x') or {"])),
            (")", source.choice(["", ",)", ", 1)"])),
        ]
    )
    head = head.replace(old, new, 1)[:size].ljust(size)
    return content[:10] + head.encode("latin-1", "replace") + content[10 + size :], f"head {head.strip()[:80]}"


def change_safetensors(content: bytes, source: random.Random) -> tuple[bytes, str]:
    """Another head of a safetensors file, else other bytes."""
    if source.random() < 0.5:
        return change_bytes(content, source)
    (size,) = struct.unpack_from("<Q", content)
    head = json.loads(content[8 : 8 + size])
    value, words = change_value(head, source)
    text = to_json(value)
    length = len(text) if source.random() < 0.9 else source.choice([0, 2**62, len(content)])
    return struct.pack("<Q", length) + text + content[8 + size :], f"head {words}"


Change = Callable[[bytes, random.Random], tuple[bytes, str]]


def change_json(content: bytes, source: random.Random) -> tuple[bytes, str]:
    """Other values in JSON, or other letters."""
    if source.random() < 0.25:
        return change_text(content, source)
    value, words = change_value(json.loads(content), source)
    return to_json(value), words


def change_yaml(content: bytes, source: random.Random) -> tuple[bytes, str]:
    """Other values in YAML, or other letters."""
    if source.random() < 0.2:
        return change_text(content, source)
    import yaml

    value, words = change_value(yaml.safe_load(content), source)
    return to_yaml(value), words


CHANGES: dict[str, Change] = {
    ".json": change_json,
    ".geojson": change_json,
    ".claim": change_json,
    ".yaml": change_yaml,
    ".csv": change_text,
    ".txt": change_text,
    ".tif": change_tiff,
    ".npy": change_npy,
    ".safetensors": change_safetensors,
}
"""What suits files of an ending; others get other bytes."""


def change_file(content: bytes, suffix: str, source: random.Random) -> tuple[bytes, str]:
    """The content of a file, spoilt, and what was done."""
    return CHANGES.get(suffix, change_bytes)(content, source)
