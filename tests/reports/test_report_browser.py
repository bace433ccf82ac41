"""The report in a real browser: no console message, no request, no sideways scrolling on a phone."""

import os
import re
import shutil
import subprocess
from html import escape
from pathlib import Path
from typing import Any, cast

import pytest
from fake_store import FakeStore
from fake_study import VARIANTS, write_study

from eofuse.data.store import Store
from eofuse.data.store.pack import pack_source
from eofuse.modalities import CLIMATE_ZONE, SEASON, SENTINEL1
from eofuse.reports.data_card import data_card
from eofuse.reports.html import write_report
from eofuse.studies.results import read_results
from fake_source import FakeSource

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--enable-logging=stderr",
    "--v=0",
)  # fmt: skip

if BROWSER is None and os.environ.get("CI") != "true":
    pytest.skip("chromium is not installed", allow_module_level=True)


# the window of a headless browser can't be as narrow as a phone, a frame in it can
FRAME = """<iframe width="{width}" height="800" srcdoc="{page}"></iframe>"""
FRAMES = """<!DOCTYPE html><body>{frames}
<p id="found">widths</p><script>onload = () => {{ for (const frame of document.querySelectorAll("iframe")) {{
const root = frame.contentDocument.documentElement;
found.textContent += " " + root.scrollWidth + " " + root.clientWidth; }} }}</script></body></html>"""


def opened(page: Path, profile: Path) -> tuple[str, list[str]]:
    """The document and the console messages of a page that is opened in a fresh browser."""
    assert BROWSER, "CI needs chromium"
    command = [BROWSER, *OPTIONS, f"--user-data-dir={profile}", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "</html>" in done.stdout
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    kinds = ("segmentation", "detection")
    options: dict[str, Any] = {"twins": True, "n_test": 20, "variants": VARIANTS[:1], "seeds": (0,)}
    results = read_results(write_study(folder / "study", kinds=kinds, **options))
    ids = results.predictions.drop_duplicates("patch_id")["patch_id"].tolist()
    return write_report(results, cast(Store, FakeStore(ids)), folder / "report.html")


def test_no_console_message(page: Path, tmp_path: Path) -> None:
    assert opened(page, tmp_path / "profile")[1] == []


def test_a_request_to_elsewhere_would_be_refused_and_seen(page: Path, tmp_path: Path) -> None:
    broken = page.read_text(encoding="utf-8").replace("</body>", '<img src="https://example.org/x.png"></body>')
    (tmp_path / "broken.html").write_text(broken, encoding="utf-8")
    messages = opened(tmp_path / "broken.html", tmp_path / "profile")[1]
    assert any("Content Security Policy" in line for line in messages)


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("card")
    source = FakeSource(patches=60, modalities=(SENTINEL1, SEASON, CLIMATE_ZONE), absent={"s1": {3}})
    return data_card(pack_source(source, folder / "s.store", workers=1), folder / "card.html")


def test_a_data_card_has_no_console_message(card: Path, tmp_path: Path) -> None:
    assert opened(card, tmp_path / "profile")[1] == []


def test_neither_scrolls_sideways_on_a_phone_nor_on_a_screen(page: Path, card: Path, tmp_path: Path) -> None:
    shown = [(each, width) for each in (page, card) for width in (390, 1280)]
    frames = []
    for each, width in shown:
        inner = re.sub(r"<meta http-equiv=[^>]*>", "", each.read_text(encoding="utf-8"))
        frames.append(FRAME.format(width=width, page=escape(inner)))
    (tmp_path / "measured.html").write_text(FRAMES.format(frames="".join(frames)), encoding="utf-8")
    found = re.search(r"widths([ \d]+)", opened(tmp_path / "measured.html", tmp_path / "profile")[0])
    assert found
    numbers = [int(number) for number in found[1].split()]
    for (_, width), scrolled, seen in zip(shown, numbers[::2], numbers[1::2], strict=True):
        assert width - 40 < seen <= width
        assert scrolled == seen
