"""report.html as a reader has it: in a headless Chromium, without a network."""

import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alrare.campaign.page.watch import WatchServer
from alrare.campaign.report import report_page, write_report
from report_run import write_run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 400, "height": 800}
FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
NAMELESS = """
[...document.querySelectorAll("button, input, select, summary, [tabindex], [role=img], a")]
  .filter((one) => one.offsetParent !== null)
  .filter((one) => !(one.getAttribute("aria-label") || one.textContent.trim()
    || one.labels?.[0]?.textContent.trim()))
  .map((one) => one.outerHTML)
"""

DRAWN = "[...document.querySelectorAll('.plot')].every((one) => one.querySelector('.main-svg'))"
MIDDLE_OF_LAST_CURVE = """
(() => {
  const figure = document.getElementById("curves-0"), place = figure.getBoundingClientRect();
  const { xaxis, yaxis } = figure._fullLayout, curve = figure.data.at(-1);
  const row = Math.floor(curve.x.length / 4);
  return { x: place.x + xaxis._offset + xaxis.d2p(curve.x[row]),
           y: place.y + yaxis._offset + yaxis.d2p(curve.y[row]) };
})()
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(write_run(tmp_path_factory.mktemp("page") / "ethyl"))


class Opened:
    """A page, and what it has complained of and asked for."""

    def __init__(self, browser: Any, address: str, size: dict[str, int], colors: str) -> None:
        self.context = browser.new_context(viewport=size, color_scheme=colors)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page.on(
            "console",
            lambda said: self.complaints.append(said.text) if said.type == "error" else None,
        )
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(address)
        self.until(DRAWN)

    def value(self, script: str) -> Any:
        return self.page.evaluate(script)

    def until(self, script: str) -> None:
        """Wait until a script is true; the page's policy forbids Playwright's own waiting."""
        for _ in range(600):
            if self.value(script):
                return
            self.page.wait_for_timeout(50)
        raise AssertionError(f"never true: {script}")

    def show_film(self) -> None:
        self.page.locator("#movie").scroll_into_view_if_needed()
        self.until("document.querySelectorAll('#film canvas').length > 0")


@pytest.fixture
def open_page(browser: Any, report: Path) -> Iterator[Any]:
    opened: list[Opened] = []

    def open_it(
        size: dict[str, int] = WIDE, colors: str = "light", of: Path | None = None
    ) -> Opened:
        opened.append(Opened(browser, (of or report).as_uri(), size, colors))
        return opened[-1]

    yield open_it
    for one in opened:
        one.context.close()


def test_the_page_complains_of_nothing_and_asks_for_nothing(open_page: Any, report: Path) -> None:
    one = open_page()
    one.show_film()
    one.page.click("#film-play")
    one.page.wait_for_timeout(1000)
    assert one.complaints == []
    local = [url for url in one.requests if url.startswith(("data:", "blob:"))]
    assert [url for url in one.requests if url not in local] == [report.as_uri()]


def test_each_run_is_a_curve_that_can_be_switched_on_and_off(open_page: Any) -> None:
    one = open_page()
    drawn = "document.getElementById('curves-0').data.filter((trace) => trace.visible).length"
    assert one.value("document.getElementById('curves-0').data.length") == 6
    assert one.value(drawn) == 4  # the labeller's and those of the last model
    boxes = one.page.get_by_role("group", name="Iterations").first
    boxes.get_by_label("0", exact=True).check()
    assert one.value(drawn) == 6
    boxes = one.page.get_by_role("group", name="Seeds").first
    boxes.get_by_label("2", exact=True).uncheck()
    assert one.value(drawn) == 3


def test_a_curve_says_under_the_pointer_which_run_it_is(open_page: Any) -> None:
    one = open_page()
    one.page.locator("#curves-0").scroll_into_view_if_needed()
    place = one.value(MIDDLE_OF_LAST_CURVE)
    one.page.mouse.move(place["x"] - 3, place["y"])
    one.page.mouse.move(place["x"], place["y"], steps=3)
    one.page.wait_for_selector("#curves-0 .hoverlayer text")
    assert "seed 2" in one.page.locator("#curves-0 .hoverlayer").text_content()


def test_a_browser_without_webgl_says_so_in_place_of_the_film(browser: Any, report: Path) -> None:
    context = browser.new_context(viewport=WIDE)
    page = context.new_page()
    page.add_init_script(
        """const before = HTMLCanvasElement.prototype.getContext;
        HTMLCanvasElement.prototype.getContext = function (kind, ...others) {
          return kind.includes("webgl") ? null : before.call(this, kind, ...others);
        };"""
    )
    page.goto(report.as_uri())
    page.locator("#movie").scroll_into_view_if_needed()
    page.wait_for_selector("#movie .missing")
    assert "WebGL is off or missing" in page.inner_text("#movie")
    context.close()


def test_the_film_plays_pauses_and_is_scrubbed_by_keys(open_page: Any) -> None:
    one = open_page()
    frame = "Number(document.getElementById('film-frame').value)"
    play = one.page.locator("#film-play")
    one.show_film()
    assert one.page.locator("#film canvas").count() == 2
    assert one.value(frame) == 0
    play.focus()
    one.page.keyboard.press("Enter")
    assert play.get_attribute("aria-label") == "Pause the film"
    one.until(f"{frame} >= 3")
    one.page.keyboard.press("Enter")
    stopped = one.value(frame)
    one.page.wait_for_timeout(400)
    assert one.value(frame) == stopped
    one.page.focus("#film-frame")
    one.page.keyboard.press("ArrowRight")
    assert one.value(frame) == stopped + 1
    assert f"Frame {stopped + 2} of" in one.page.inner_text("#film-counter")


def test_the_film_goes_to_the_event_at_once(open_page: Any) -> None:
    one = open_page()
    one.page.click("#film-event")
    one.page.wait_for_timeout(500)
    assert "MD step 200" in one.page.inner_text("#film-counter")


def test_the_film_marks_the_bond_that_broke(open_page: Any) -> None:
    one = open_page()
    one.show_film()
    assert "all bonds whole" in one.page.inner_text("#film-left .state")
    one.page.select_option("#film-run", label="seed 2")
    assert one.page.locator("#film canvas").count() == 2
    one.page.click("#film-event")
    assert "MD step 200" in one.page.inner_text("#film-counter")
    assert "broken: C1–C2" in one.page.inner_text("#film-left .state")
    assert "all bonds whole" in one.page.inner_text("#film-right .state")


@pytest.mark.parametrize("size", [NARROW, WIDE], ids=["400 px", "1280 px"])
def test_nothing_is_wider_than_the_window(open_page: Any, size: dict[str, int]) -> None:
    one = open_page(size)
    assert one.value("document.documentElement.scrollWidth") <= size["width"]
    last = one.page.locator("a.term").last
    last.scroll_into_view_if_needed()
    last.hover()
    assert one.value("document.documentElement.scrollWidth") <= size["width"]


def test_dark_mode_has_a_dark_page_with_light_text(open_page: Any) -> None:
    def brightness(one: Opened, what: str) -> float:
        color = one.value(f"getComputedStyle(document.body).{what}")
        return float(sum(int(part) for part in color[4:-1].split(",")) / 3)

    light, dark = open_page(), open_page(colors="dark")
    assert brightness(light, "backgroundColor") > 200 > 100 > brightness(light, "color")
    assert brightness(dark, "backgroundColor") < 60 < 200 < brightness(dark, "color")
    axis = "getComputedStyle(document.querySelector('#curves-0 .xtick text')).fill"
    assert light.value(axis) != dark.value(axis)
    light.page.emulate_media(color_scheme="dark")
    light.page.wait_for_timeout(300)
    assert light.value(axis) == dark.value(axis)


def test_whatever_can_be_used_has_a_name(open_page: Any) -> None:
    assert open_page().value(NAMELESS) == []


def test_a_term_is_explained_to_pointer_and_keyboard(open_page: Any) -> None:
    one = open_page()
    tip = one.page.locator("#tip")
    assert not tip.is_visible()
    one.page.locator("a.term", has_text="standard error").first.hover()
    assert "scatter of the seeds" in tip.inner_text()
    one.page.keyboard.press("Escape")
    assert not tip.is_visible()
    one.page.locator("a.term", has_text="iteration").first.focus()
    assert "iteration 0 is the initial model" in tip.inner_text()


@pytest.mark.parametrize("kind", ["just begun", "no reference", "two systems"])
def test_other_campaigns_have_a_page_without_complaints(
    open_page: Any, tmp_path: Path, kind: str
) -> None:
    run = tmp_path / "run"
    if kind == "just begun":
        run.mkdir()
        (run / "config.toml").write_text("")
    elif kind == "no reference":
        write_run(run, reference=False)
    else:
        write_run(run, systems=("C4", "C6"))
    one = open_page(of=write_report(run))
    if kind != "just begun":
        one.show_film()
    assert one.complaints == []
    canvases = {"just begun": 0, "no reference": 1, "two systems": 2}
    assert one.page.locator("#film canvas").count() == canvases[kind]


SCREENSHOTS = {
    "report": (WIDE, "light", "body"),
    "report_narrow": (NARROW, "light", "body"),
    "report_dark": (WIDE, "dark", "section:has(#movie)"),
}
"""Window, colors, and what stands at the top of the picture."""


@pytest.mark.parametrize("name", SCREENSHOTS)
def test_the_report_can_be_pictured(
    name: str, open_page: Any, report: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = request.config.getoption("--screenshots")
    if folder is None:
        pytest.skip("give --screenshots=FOLDER to keep pictures of the report")
    run = request.config.getoption("--screenshots-of")
    if run is not None:
        report = tmp_path / "report.html"
        report.write_text(report_page(Path(run)), encoding="utf-8")
    size, colors, top = SCREENSHOTS[name]
    one = open_page(size, colors, report)
    if top != "body":
        one.show_film()
        one.page.click("#film-event")
    one.value(f"document.querySelector('{top}').scrollIntoView()")
    one.page.wait_for_timeout(1000)  # the film moves to the event
    Path(folder).mkdir(parents=True, exist_ok=True)
    one.page.screenshot(path=Path(folder) / f"{name}.png")


def test_the_page_that_is_watched_loads_itself_again_after_an_iteration(
    browser: Any, tmp_path: Path
) -> None:
    run = write_run(tmp_path / "ethyl")
    (run / "log.txt").write_text("training epochs: 3 of 12\n")
    with WatchServer(run) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        opened = Opened(browser, server.url, WIDE, "light")
        log = "document.getElementById('watch').textContent.includes('3 of 12')"
        opened.until(log)
        before = opened.value("document.getElementById('watch').dataset.state")
        with opened.page.expect_event("load"):
            os.utime(run / "results.json", ns=(1, 1))
        opened.until(DRAWN)
        opened.until(log)
        assert opened.value("document.getElementById('watch').dataset.state") != before
        assert not opened.complaints
        assert {url.removeprefix(server.url) for url in opened.requests} == {"", "state"}
        opened.context.close()
        server.shutdown()
        thread.join()
