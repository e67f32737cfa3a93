"""The page in a real browser: what a hovered cell lights is what the definition says."""

from __future__ import annotations

import shutil
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from backstride import reference
from backstride.calls import parse
from backstride.explain import View, draw
from backstride.explain.svg import to_svg
from backstride.explain.trace import flat
from backstride.geometry import Geometry

sync_api: Any = pytest.importorskip("playwright.sync_api", reason="needs Playwright")
uvicorn: Any = pytest.importorskip("uvicorn", reason="the page needs uvicorn")

from backstride.explore import application  # noqa: E402

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs an installed Chromium")
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
]
Page = Any


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = uvicorn.Server(
        uvicorn.Config(application(), host="127.0.0.1", port=port, log_level="error")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}/"
    server.should_exit = True
    thread.join(timeout=10)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Page]:
    """A page that must not complain: errors of scripts and of the content policy fail the test."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    opened: Page = context.new_page()
    complaints: list[str] = []

    def wrong(error: Any) -> None:
        complaints.append(str(error))

    def said(message: Any) -> None:
        if message.type == "error" and "422" not in message.text:
            complaints.append(message.text)

    opened.on("pageerror", wrong)
    opened.on("console", said)
    yield opened
    context.close()
    assert complaints == []


def lit(page: Page, panel: str) -> set[int]:
    return set(
        page.eval_on_selector_all(
            f'#stage rect[data-panel="{panel}"].from',
            "found => found.map(cell => Number(cell.dataset.cell))",
        )
    )


def until(page: Page, condition: str) -> None:
    """Wait in Python: the page's content policy lets nothing be evaluated from text inside it."""
    for _ in range(400):
        if page.evaluate(condition):
            return
        time.sleep(0.05)
    message = f"never: {condition}"
    raise AssertionError(message)


CALLS = [
    ("k=3 s=2 p=same", "3x3"),
    ("k=3x2 s=2x1 p=[(1,0),(0,-1)] d=2x1", "3x2"),
    ("torch.nn.ConvTranspose1d(2, 3, 4, 3, 1)", "5"),
]


@pytest.mark.parametrize("view", ["scatter", "gather"])
@pytest.mark.parametrize(("call", "size"), CALLS)
def test_a_hovered_output_lights_exactly_its_inputs(
    page: Page, address: str, view: str, call: str, size: str
) -> None:
    _ = page.goto(f"{address}?{urlencode({'call': call, 'input': size, 'view': view})}")
    sizes = tuple(map(int, size.split("x")))
    where: Geometry = parse(call).geometry(sizes if len(sizes) > 1 else int(size))
    met: dict[int, tuple[set[int], set[int]]] = {}
    meetings = list(reference.meetings(where))
    for cell, tap, output in meetings:
        inputs, taps = met.setdefault(flat(output, where.output), (set(), set()))
        inputs.add(flat(cell, where.input))
        taps.add(flat(tap, where.kernel))
    cells = page.locator('#stage rect[data-panel="output"]').count()
    panels = set(
        page.eval_on_selector_all(
            "#stage rect[data-panel]", "found => found.map(cell => cell.dataset.panel)"
        )
    )
    for output in range(0, cells, 2):
        page.hover(f'#stage rect[data-panel="output"][data-cell="{output}"]')
        inputs, taps = met.get(output, (set(), set()))
        if "input" in panels:
            assert lit(page, "input") == inputs
        if "kernel" in panels:
            assert lit(page, "kernel") == taps
        text = page.inner_text("#about")
        assert text.count("·") == min(
            len([m for m in meetings if flat(m[2], where.output) == output]), 12
        )


def test_a_hovered_input_lights_what_it_stamps(page: Page, address: str) -> None:
    _ = page.goto(f"{address}?input=3x3&padding=same")
    where = parse("k=3 s=2 p=same").geometry((3, 3))
    page.hover('#stage rect[data-panel="input"][data-cell="4"]')
    assert lit(page, "output") == {
        flat(o, where.output) for cell, _, o in reference.meetings(where) if cell == (1, 1)
    }


def test_sliders_draw_again_and_the_link_brings_back(page: Page, address: str) -> None:
    _ = page.goto(address)
    page.fill('input[name="kernel"]', "4")
    until(page, "document.querySelector('#headline').textContent.includes('8 x 8')")
    page.select_option('select[name="rule"]', "number")
    until(page, "location.search.includes('padding=1x1')")
    page.fill('input[name="input"]', "6")
    until(page, "document.querySelector('#headline').textContent.startsWith('6 x 6')")
    headline, link = page.inner_text("#headline"), page.url
    assert headline == "6 x 6 -> 12 x 12"
    page.check('label:has(input[value="gather"])')
    until(page, "location.search.includes('view=gather')")
    _ = page.goto(link)
    assert page.inner_text("#headline") == headline
    assert page.input_value('input[name="kernel"]') == "4"


def test_the_call_box_follows_the_sliders(page: Page, address: str) -> None:
    _ = page.goto(address)
    page.fill('input[name="kernel"]', "5")
    until(page, "document.getElementById('call').value.startsWith('k=5x5 s=2x2')")
    assert page.text_content("#asked") == page.input_value("#call")
    page.click("text=Explain")
    page.wait_for_load_state()
    assert parse(page.input_value("#call")).kernel == (5, 5)


def test_what_is_not_legal_is_said_and_the_picture_stays(page: Page, address: str) -> None:
    _ = page.goto(f"{address}?input=2x2&kernel=3&padding=1")
    page.fill('input[name="padding"]', "12")
    until(page, "document.querySelector('#problem').textContent.includes('must leave at least 1')")
    assert page.locator("#stage svg").count() == 1


def test_keys_step_play_and_walk(page: Page, address: str) -> None:
    _ = page.goto(f"{address}?input=2x2&padding=same")
    page.keyboard.press("Home")
    assert page.inner_text("#count") == "1 / 5"
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#count") == "2 / 5"
    page.keyboard.press(" ")
    until(page, "document.querySelector('#count').textContent !== '2 / 5'")
    page.keyboard.press(" ")
    assert page.inner_text("#play") == "Play"
    page.keyboard.press("g")
    until(page, "document.querySelector('#count').textContent.endsWith('/ 16')")
    page.focus('#stage rect[data-panel="output"][data-cell="0"]')
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#about").startswith("output [1, 1] = ")


def test_every_frame_shows_its_groups(page: Page, address: str) -> None:
    _ = page.goto(f"{address}?input=2x2&padding=same")
    for frame in range(5):
        page.evaluate(
            "at => { const box = document.querySelector('#frame');"
            " box.value = at; box.dispatchEvent(new Event('input')); }",
            frame,
        )
        wrong = page.eval_on_selector_all(
            "#stage g[data-first]",
            "(groups, at) => groups.filter(g => (g.getAttribute('visibility') === 'visible') !== "
            "(Number(g.dataset.first) <= at && at < Number(g.dataset.last))).length",
            frame,
        )
        assert wrong == 0


def test_the_code_of_each_framework_is_copied(page: Page, address: str) -> None:
    page.context.grant_permissions(
        ["clipboard-read", "clipboard-write"], origin=address.rstrip("/")
    )
    _ = page.goto(f"{address}?input=4x4&padding=same")
    assert page.locator("#code details").count() >= 10
    page.click("#code details:first-of-type summary")
    page.click("#code details[open] button.copy")
    page.wait_for_selector("button.copy:has-text('Copied')")
    assert "ConvTranspose2d" in page.evaluate("navigator.clipboard.readText()")


def test_a_phone_needs_no_sideways_scrolling(page: Page, address: str) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    _ = page.goto(f"{address}?input=6x6&kernel=4&padding=1")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    stage = "document.getElementById('stage')"
    assert page.evaluate(f"{stage}.scrollWidth <= {stage}.clientWidth + 1")
    page.click('#stage rect[data-panel="input"][data-cell="0"]')
    assert page.inner_text("#about").startswith("input [0, 0] reaches")


@pytest.mark.parametrize(
    "query", [{"input": "4x4"}, {"call": "nn.ConvTranspose3d(256, 128, 4, 2, 1)", "input": "64"}]
)
def test_nothing_on_a_phone_scrolls_sideways(
    page: Page, address: str, query: dict[str, str]
) -> None:
    page.set_viewport_size({"width": 375, "height": 844})
    _ = page.goto(f"{address}?{urlencode(query)}")
    page.evaluate("document.querySelectorAll('details').forEach(entry => { entry.open = true; })")
    wide = page.evaluate(
        "[...document.querySelectorAll('body, body *:not(input, svg *)')].filter(e => "
        "e.scrollWidth > Math.max(e.clientWidth, 0) + 1 && getComputedStyle(e).overflowX !== "
        "'visible').map(e => e.tagName + ' ' + e.className)"
    )
    assert wide == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 375


def test_of_a_large_layer_the_ends_are_walked_and_the_sums_are_whole(
    page: Page, address: str
) -> None:
    _ = page.goto(
        f"{address}?{urlencode({'call': 'nn.ConvTranspose2d(256, 128, 4, 2, 1)', 'input': '64'})}"
    )
    page.focus('#stage rect[data-panel="output"][data-cell="7"]')
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#about") == "output [0, 120] = x[0, 59]·w[1, 3] + x[0, 60]·w[1, 1]"
    page.hover('#stage rect[data-panel="kernel"][data-cell="0"]')
    assert page.inner_text("#about").startswith(
        f"kernel [0, 0] reaches {63 * 63} output cells, here [1, 1] [1, 3]"
    )
    page.fill('input[name="kernel"]', "5")
    until(page, "document.querySelector('#headline').textContent === '64 x 64  ->  129 x 129'")
    assert page.input_value('input[name="input"]') == "64"


def test_the_planes_of_three_axes_have_sliders(page: Page, address: str) -> None:
    _ = page.goto(
        f"{address}?{urlencode({'call': 'nn.ConvTranspose3d(8, 4, (2, 3, 4), 2)', 'input': '3x4x5'})}"  # noqa: E501
    )
    assert page.inner_text("#headline").startswith("3 x 4 x 5, 8 channels")
    page.fill('input[name="kernel-column"]', "3")
    until(page, "document.querySelector('#headline').textContent === '3 x 4 x 5  ->  6 x 9 x 11'")


def test_the_written_page_works_without_a_server(page: Page, tmp_path: Any) -> None:
    from backstride.explain import Request, answer  # noqa: PLC0415

    _ = answer(
        Request("k=3 s=2 p=same", input=(3, 3), numbers=True), {"html": tmp_path / "call.html"}
    )
    _ = page.goto((tmp_path / "call.html").as_uri())
    page.hover('#stage rect[data-panel="output"][data-cell="14"]')
    assert lit(page, "input") == {0, 1, 3, 4}
    page.check('label:has(input[value="convolution"])')
    page.hover('#stage rect[data-panel="output"][data-cell="0"]')
    assert lit(page, "input") == {0, 1, 2, 6, 7, 8, 12, 13, 14}


@pytest.mark.parametrize("view", ["scatter", "gather"])
def test_a_picture_moves_by_itself_frame_by_frame(page: Page, view: View) -> None:
    drawing = draw(parse("k=3 s=2 p=same").geometry((2, 3)), view)
    _ = page.set_content(to_svg(drawing, seconds=1))
    for frame in range(drawing.frames):
        seen = page.evaluate(
            """at => {
                for (const film of document.getAnimations()) { film.pause(); film.currentTime = 1000 * (at + 0.5); }
                const groups = [...document.querySelectorAll("g")];
                return groups.map(g => [g.getAttribute("class"), getComputedStyle(g).visibility === "visible"]);
            }""",  # noqa: E501
            frame,
        )
        assert seen
        for name, visible in seen:
            first, last = map(int, name.removeprefix("f").split("-"))
            assert visible == (first <= frame < last)


def test_paper_and_readers_who_want_no_motion_see_the_still(page: Page) -> None:
    drawing = draw(parse("k=3 s=2 p=same").geometry((2, 2)), "gather")
    for media in ({"media": "print"}, {"media": "screen", "reduced_motion": "reduce"}):
        page.emulate_media(**media)
        _ = page.set_content(to_svg(drawing))
        assert page.evaluate("document.getAnimations().length") == 0
        names = page.evaluate(
            "[...document.querySelectorAll('g')].filter(g => getComputedStyle(g).visibility === "
            "'visible').map(g => g.getAttribute('class'))"
        )
        spans = [tuple(map(int, name.removeprefix("f").split("-"))) for name in names]
        assert spans
        assert all(first <= drawing.still < last for first, last in spans)
