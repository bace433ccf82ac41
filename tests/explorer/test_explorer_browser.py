"""The explorer in a real browser: what a user does with mouse and keyboard, at 8,000 and 100,000 patches."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from made_page import HOSTILE, write_page

from devtools import BROWSER, Browser
from eofuse.data.store.subset import read_ids

if BROWSER is None and os.environ.get("CI") != "true":
    pytest.skip("chromium is not installed", allow_module_level=True)

COUNT = 8000
MAP, PLANE = ".plots figure:nth-child(1) canvas.top", ".plots figure:nth-child(2) canvas.top"
SELECTED = "Number(document.querySelector('#status').textContent.split(' of ')[0].replaceAll(',', ''))"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_page(tmp_path_factory.mktemp("many") / "many.html", COUNT, thumbnails=1024)


@pytest.fixture
def page(browser: Browser, many: Path) -> Browser:
    browser.open(many)
    return browser


def part(browser: Browser, selector: str, *places: tuple[float, float]) -> list[tuple[float, float]]:
    """Places in an element, given as shares of its width and height."""
    left, top, width, height = browser.box(selector)
    return [(left + across * width, top + down * height) for across, down in places]


def test_the_page_asks_for_nothing_and_says_nothing_to_the_console(page: Browser) -> None:
    assert page.messages == []
    assert [address for address in page.requests if not address.startswith(("file:", "data:"))] == []
    assert len([address for address in page.requests if address.startswith("file:")]) == 1


def test_all_patches_are_drawn_and_counted_and_errors_come_first(page: Browser) -> None:
    assert page(SELECTED) == COUNT
    assert page("document.querySelector('#order').value") == "error"
    assert "wrong" in page("document.querySelector('#gallery button').getAttribute('aria-label')")
    assert page("document.querySelectorAll('#gallery canvas, #gallery .blank').length") == 60
    coloured = (
        "(() => { const c = document.querySelector('canvas.points');"
        "return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some((v) => v > 0); })()"
    )
    assert page(coloured) is True


def test_a_lasso_on_the_map_selects_in_every_view(page: Browser) -> None:
    west = part(page, MAP, (0.01, 0.01), (0.5, 0.01), (0.5, 0.5), (0.5, 0.99), (0.01, 0.99))
    page.drag(west)
    selected = page(SELECTED)
    assert COUNT / 3 < selected < COUNT * 2 / 3
    assert f"of {selected:,} selected" in page("document.querySelector('#gallery-note').textContent")
    share = "parseFloat(document.querySelector('.facet li .share span').style.width)"
    assert 30 < page(share) < 70
    page.click("#clear")
    assert page(SELECTED) == COUNT


def test_a_box_on_the_embedding_selects_and_shift_adds(page: Browser) -> None:
    page.click("input[value=box] + span")
    page.drag(part(page, PLANE, (0.01, 0.01), (0.2, 0.5), (0.5, 0.5)))
    quarter = page(SELECTED)
    assert COUNT / 6 < quarter < COUNT / 3
    page.drag(part(page, PLANE, (0.51, 0.01), (0.7, 0.4), (0.99, 0.5)), modifiers=8)
    assert quarter * 1.6 < page(SELECTED) < quarter * 2.4


def only_open(browser: Browser, title: str) -> None:
    """Opens one facet and closes the others; it gets the id `facet`."""
    browser(
        "document.querySelectorAll('.facet').forEach((facet) => {"
        f"facet.open = facet.firstChild.textContent === {title!r}; facet.id = facet.open ? 'facet' : ''; }})"
    )
    browser.settle()


def test_filters_and_the_brush_of_a_histogram_join(page: Browser) -> None:
    only_open(page, "right or wrong")
    page.click("#facet input[type=checkbox]")
    right = page(SELECTED)
    assert COUNT / 9 < right < COUNT / 7  # half of the test patches, a quarter of all
    only_open(page, "height")
    page.drag(part(page, "#facet canvas", (0.0, 0.5), (0.1, 0.5), (0.25, 0.5)))
    assert right * 0.4 < page(SELECTED) < right * 0.6
    assert page("document.querySelectorAll('.facet.active').length") == 2


def test_a_range_can_be_typed(page: Browser) -> None:
    only_open(page, "height")
    page("document.querySelector('#facet input').focus()")
    page.press("5", "0", "0", "Enter")
    assert COUNT * 0.45 < page(SELECTED) < COUNT * 0.55


def test_keys_go_from_patch_to_patch_open_one_and_close_it(page: Browser) -> None:
    page("document.querySelector('canvas.top').focus()")
    page.press("ArrowRight", "ArrowRight")
    assert page("document.querySelector('#status').textContent").startswith("patch_")
    page.press("Enter")
    assert page("document.querySelector('#patch').open") is True
    first = page("document.querySelector('#patch-title').textContent")
    page.press("ArrowRight")
    assert page("document.querySelector('#patch-title').textContent") != first
    page.press("Escape")
    assert page("document.querySelector('#patch').open") is False
    assert page("document.activeElement.classList.contains('top')") is True
    page.press("+", "+", "v")
    assert 0 < page(SELECTED) < COUNT / 2
    page.press("Escape")
    assert page(SELECTED) == COUNT


def test_arrow_keys_walk_through_the_gallery(page: Browser) -> None:
    page("document.querySelector('#gallery button').focus()")
    page.press("ArrowRight", "ArrowDown", "ArrowLeft")
    place = "[...document.querySelectorAll('#gallery button')].indexOf(document.activeElement)"
    assert page(place) > 1


def test_a_click_on_a_point_opens_its_patch(page: Browser) -> None:
    page.drag(part(page, MAP, (0.5, 0.5)))
    assert page("document.querySelector('#patch').open") is True
    assert page("document.querySelector('#patch-title').textContent").startswith("patch_")


def test_another_variant_brings_its_own_predictions(page: Browser) -> None:
    right = "document.querySelector('#status').textContent.match(/([\\d.]+) % of/)[1]"
    before = page(right)
    page(
        "(() => { const s = document.querySelector('#sets select'); s.selectedIndex = 1; s.dispatchEvent(new Event('change')); })()"
    )
    page.settle()
    assert float(page(right)) > float(before) + 10
    assert "second <b>" in page("document.querySelector('#kicker').textContent")


def test_ids_of_the_selected_go_into_a_file_without_the_test_patches(page: Browser, tmp_path: Path) -> None:
    page._ask("Page.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path))
    page.drag(part(page, MAP, (0.01, 0.01), (0.5, 0.01), (0.5, 0.99), (0.01, 0.99)))
    page.click("#download")
    end = time.monotonic() + 20
    while not (tmp_path / "ids.txt").exists() and time.monotonic() < end:
        time.sleep(0.05)
    ids = [int(name.removeprefix("patch_")) for name in read_ids(tmp_path / "ids.txt")]
    assert COUNT / 4 < len(ids) < COUNT / 2
    assert all(row % 4 for row in ids)
    assert "left out" in page("document.querySelector('#ids-note').textContent")


def test_names_are_text_whatever_they_hold(browser: Browser, tmp_path: Path) -> None:
    browser.open(write_page(tmp_path / "hostile.html", 40, thumbnails=8, hostile=True))
    browser.click("#gallery button")
    browser("document.querySelector('#notes').open = true")
    browser.settle()
    assert browser.messages == []
    assert "taken" not in browser("document.title").replace(HOSTILE[0], "")
    assert browser("document.querySelectorAll('img, script:not([type])').length") == 1
    assert browser("document.querySelector('h1').textContent") == HOSTILE[0]
    assert browser("document.querySelector('#commands').textContent").startswith("eofuse subset '[bold]$x^2$[/bold]")
    shown = browser("document.body.innerText")
    assert all(name.split("\n")[0][:12] in shown for name in HOSTILE[:3])


def test_a_script_that_is_not_its_own_does_not_run(browser: Browser, tmp_path: Path) -> None:
    path = write_page(tmp_path / "broken.html", 40)
    more = "<script>document.title = 'taken'</script><img src='https://example.org/x.png'></body>"
    path.write_text(path.read_text(encoding="utf-8").replace("</body>", more), encoding="utf-8")
    browser.open(path)
    assert browser("document.title") == "made, explorer – eofuse"
    assert any("Content Security Policy" in line for line in browser.messages)


@pytest.mark.parametrize("dark", [False, True])
def test_fits_a_phone(browser: Browser, many: Path, dark: bool) -> None:
    browser.open(many, width=390, height=800, dark=dark)
    assert browser("[document.documentElement.scrollWidth, innerWidth]") == [390, 390]
    assert browser("getComputedStyle(document.body).backgroundColor") == (
        "rgb(18, 23, 28)" if dark else "rgb(255, 255, 255)"
    )


def test_a_hundred_thousand_points_are_drawn_and_selected(browser: Browser, tmp_path: Path) -> None:
    browser.open(write_page(tmp_path / "large.html", 100_000))
    assert browser(SELECTED) == 100_000
    browser.drag(part(browser, MAP, (0.4, 0.05), (0.6, 0.05), (0.6, 0.95), (0.4, 0.95)))
    assert 10_000 < browser(SELECTED) < 80_000
