"""The report in a headless Chromium, driven over its own pipe: nothing but the browser is needed."""

from __future__ import annotations

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from page_records import study

from avbench.report.page.build import write

pytestmark = pytest.mark.browser
PATIENCE = 90.0  # seconds for any answer: the machine may be busy


class Browser:
    """Chromium with one page, spoken to in the DevTools protocol through file descriptors 3 and 4."""

    def __init__(self, program: str, folder: Path) -> None:
        to_browser, self._out = os.pipe()
        self._in, from_browser = os.pipe()

        def wire() -> None:
            # Through high numbers, as 3 and 4 may be in use on this side.
            os.dup2(to_browser, 103)
            os.dup2(from_browser, 104)
            os.dup2(103, 3)
            os.dup2(104, 4)

        options = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--mute-audio"]
        options += ["--autoplay-policy=no-user-gesture-required", f"--user-data-dir={folder}", "about:blank"]
        self._process = subprocess.Popen(
            [program, *options],
            pass_fds=(3, 4, to_browser, from_browser),
            preexec_fn=wire,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._buffer = b""
        self._count = 0
        self.problems: list[str] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    _session = ""

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._count:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result

    def _receive(self) -> dict[str, Any]:
        end = time.monotonic() + PATIENCE
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], max(0.0, end - time.monotonic()))
            assert ready, "chromium gave no answer"
            part = os.read(self._in, 1 << 20)
            assert part, "chromium has gone"
            self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        event, parameters = message.get("method", ""), message.get("params", {})
        if event == "Runtime.exceptionThrown":
            self.problems.append(json.dumps(parameters["exceptionDetails"])[:400])
        elif event == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
            self.problems.append(json.dumps(parameters["args"])[:400])
        elif event == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            self.problems.append(json.dumps(parameters["entry"])[:400])
        elif event == "Network.requestWillBeSent" and parameters["request"]["url"].startswith(("http", "ws")):
            self.problems.append(f"asked the network for {parameters['request']['url']}")
        return message

    def run(self, script: str) -> Any:
        """Returns the value of an expression in the page; promises are waited for."""
        answer = self.send(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, userGesture=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, script: str) -> None:
        """Waits for an expression to be true."""
        end = time.monotonic() + PATIENCE
        while not self.run(script):
            assert time.monotonic() < end, script
            time.sleep(0.1)

    def open(self, path: Path) -> None:
        self.send("Page.navigate", url=path.resolve().as_uri())
        self.until(f"location.href.startsWith('file:') && document.readyState === 'complete' && {path.name!r} !== ''")

    def size(self, width: int, height: int, *, dark: bool = False) -> None:
        self.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", features=[scheme])

    def picture(self, path: Path) -> None:
        found = self.send("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(found["data"]))

    def key(self, name: str) -> None:
        codes = {"Enter": 13, "Escape": 27, "Tab": 9}
        text = {"text": "\r"} if name == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.send(
                "Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=codes[name], **text
            )

    def close(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._out)
        os.close(self._in)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        results = study(folder, patch)
        out = folder / "report.html"
        write(results, out)
    return out


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
    if program is None:
        pytest.skip("no chromium is installed")
    opened = Browser(program, tmp_path_factory.mktemp("chromium"))
    yield opened
    opened.close()


@pytest.fixture
def opened(browser: Browser, page: Path) -> Iterator[Browser]:
    browser.problems.clear()
    browser.size(1280, 900)
    browser.open(page)
    yield browser
    assert browser.problems == []


COLUMN = "[...document.querySelectorAll('#board-body tr')].map((row) => row.children[{}].innerText.trim())"


def column(browser: Browser, place: int) -> list[str]:
    found: list[str] = browser.run(COLUMN.format(place))
    return found


def test_sorting_by_any_column_and_back(opened: Browser) -> None:
    heads = opened.run("document.querySelectorAll('#board-head button').length")
    for place in range(heads):
        head = f"document.querySelectorAll('#board-head th')[{place}]"
        opened.run(f"{head}.querySelector('button').click()")
        first, once = opened.run(f"{head}.getAttribute('aria-sort')"), column(opened, place)
        opened.run(f"{head}.querySelector('button').click()")
        second, twice = opened.run(f"{head}.getAttribute('aria-sort')"), column(opened, place)
        assert {first, second} == {"ascending", "descending"}
        assert sorted(once) == sorted(twice)
        assert opened.run("document.querySelectorAll('#board-head [aria-sort]').length") == 1
        rising = once if first == "ascending" else twice
        if place == 0:
            names = [name.removesuffix("best").strip() for name in rising]
            assert names == sorted(names)
        if place == 4:
            numbers = [float(value.split()[0]) for value in rising]
            assert numbers == sorted(numbers)


def choose(browser: Browser, field: str, value: str) -> None:
    browser.run(
        f"(() => {{ const field = document.getElementById('{field}'); field.value = '{value}';"
        " field.dispatchEvent(new Event('input', { bubbles: true })); })()"
    )


def test_filters_count_aloud(opened: Browser) -> None:
    before = len(column(opened, 0))
    choose(opened, "f-weights", "untrained")
    assert set(column(opened, 1)) == {"untrained"}
    assert len(column(opened, 0)) < before
    assert opened.run("document.getElementById('count').textContent").startswith(f"{len(column(opened, 0))} of ")
    assert opened.run("document.getElementById('count').getAttribute('aria-live')") == "polite"
    choose(opened, "f-weights", "")
    choose(opened, "f-text", "no such method")
    assert column(opened, 0) == []
    choose(opened, "f-text", "cav")
    assert column(opened, 0)


def test_a_row_opens_its_runs_by_keyboard(opened: Browser) -> None:
    opened.run("document.querySelector('#board-body .open').focus()")
    opened.key("Enter")
    opened.until("document.getElementById('runs').open")
    text = opened.run("document.getElementById('runs').innerText")
    for word in ("Runs", "Seed", "Pretraining", "Settings", "record.json"):
        assert word in text
    assert opened.run("document.querySelectorAll('#runs .chart polyline').length") > 0
    opened.run("[...document.querySelectorAll('#runs details')].forEach((each) => { each.open = true; })")
    opened.until("document.getElementById('runs').innerText.includes('embed_dim')")
    opened.key("Escape")
    opened.until("!document.getElementById('runs').open")
    assert opened.run("document.activeElement.className") == "open"


def test_a_cell_of_a_table_opens_its_runs(opened: Browser) -> None:
    opened.until("document.querySelectorAll('td .cell').length > 0")
    opened.run("document.querySelector('td .cell').click()")
    opened.until("document.getElementById('runs').open")
    assert "record.json" in opened.run("document.getElementById('runs').innerText")


def test_a_gallery_plays(opened: Browser) -> None:
    playing = "document.querySelectorAll('.tile[aria-pressed=true]').length"
    assert opened.run("document.querySelectorAll('.query').length") > 0
    opened.run("document.querySelector('.hits .tile').click()")
    assert opened.run(playing) == 1
    opened.until("document.querySelectorAll('.tile .past').length > 3")  # the sound is running
    opened.run("document.querySelectorAll('.hits .tile')[1].click()")
    assert opened.run(playing) == 1
    opened.until(f"{playing} === 0")  # it ends by itself
    opened.run("document.querySelector('[data-direction=v2a]').click()")
    assert "a picture" in opened.run("document.querySelector('.query h4').textContent")
    assert opened.run("document.querySelectorAll('.tile.right').length") >= 0


@pytest.mark.parametrize("width", [320, 390, 768, 1440])
def test_no_width_scrolls_the_page_sideways(opened: Browser, width: int) -> None:
    opened.size(width, 900)
    opened.run("[...document.querySelectorAll('details')].forEach((each) => { each.open = true; })")
    assert opened.run("document.documentElement.scrollWidth") <= width
    opened.run("document.querySelector('#board-body .open').click()")
    assert opened.run("document.documentElement.scrollWidth") <= width


def test_dark_is_dark_and_the_toggle_overrides_it(opened: Browser) -> None:
    shade = "getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).slice(0, 3).reduce((a, b) => a + +b, 0)"
    assert opened.run(shade) > 600
    opened.size(1280, 900, dark=True)
    assert opened.run(shade) < 150
    for _ in range(3):
        opened.run("document.getElementById('theme').click()")
        name = opened.run("document.getElementById('theme-name').textContent")
        assert (opened.run(shade) > 600) == (name == "light")


CONTRAST = """
(() => {
  const parse = (text) => text.match(/[0-9.]+/g).map(Number);
  const linear = (c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => [r, g, b].map((c) => linear(c / 255))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const back = (node) => {
    for (; node; node = node.parentElement) {
      const found = parse(getComputedStyle(node).backgroundColor);
      if (found.length < 4 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  const bad = [];
  for (const node of document.querySelectorAll('body *')) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    if (!own || !node.offsetParent || node.closest('svg, .skip, noscript')) continue;
    const style = getComputedStyle(node);
    if (Number(style.opacity) < 1) continue;
    const [a, b] = [light(parse(style.color)), light(back(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) bad.push(`${node.tagName}.${node.className} ${ratio.toFixed(2)}`);
  }
  return [...new Set(bad)];
})()
"""


@pytest.mark.parametrize("dark", [False, True])
def test_text_has_the_contrast_of_wcag_aa(opened: Browser, dark: bool) -> None:
    opened.size(1280, 900, dark=dark)
    assert opened.run(CONTRAST) == []


def test_what_can_be_reached_has_a_name_and_headings_are_in_order(opened: Browser) -> None:
    unnamed = """[...document.querySelectorAll('button, a, select, input, summary, [role=img], [role=region], img')]
      .filter((node) => !(node.getAttribute('aria-label') || node.getAttribute('aria-labelledby') || node.alt
        || node.innerText || node.textContent.trim() || node.closest('label') || node.rel))
      .map((node) => node.outerHTML.slice(0, 80))"""
    assert opened.run(unnamed) == []
    levels = opened.run(
        "[...document.querySelectorAll('h1, h2, h3, h4, h5')].filter((node) => !node.closest('dialog'))"
        ".map((node) => +node.tagName[1])"
    )
    assert levels[0] == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    ids = opened.run("[...document.querySelectorAll('[id]')].map((node) => node.id)")
    assert len(ids) == len(set(ids))
