"""The site of the pages: built strictly, and opened from its folder in a headless Chromium."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from browser import Browser

pytest.importorskip("mkdocs")
pytest.importorskip("material")
pytestmark = pytest.mark.browser
ROOT = Path(__file__).resolve().parent.parent
SEARCH = """(async () => {
  for (let left = 100; left && !document.querySelector('.md-search__input'); left--)
    await new Promise((later) => setTimeout(later, 100));
  document.querySelector('#__search').click();
  const field = document.querySelector('.md-search__input');
  field.focus();
  field.value = WORDS;
  field.dispatchEvent(new Event('input', { bubbles: true }));
  field.dispatchEvent(new KeyboardEvent('keyup', { bubbles: true }));
  for (let left = 300; left && !document.querySelector('.md-search-result__link'); left--)
    await new Promise((later) => setTimeout(later, 100));
  return [...document.querySelectorAll('.md-search-result__link')].map((link) => link.href);
})()"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    answer = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return folder


# What readers look for, and the page that answers.
QUESTIONS = {
    "which frames": "faq.html",
    "own encoder": "guides/encoder.html",
    "cost of a table": "faq.html",
    "lower than the paper": "faq.html",
    "lambda_c": "settings.html",
    "resume": "results.html",
}


@pytest.mark.parametrize("words", QUESTIONS)
def test_search_works_from_the_folder_and_without_a_network(browser: Browser, site: Path, words: str) -> None:
    browser.problems.clear()
    browser.size(1440, 900)
    browser.open(site / "guides" / "method.html")
    found = browser.run(SEARCH.replace("WORDS", repr(words)))
    assert any(QUESTIONS[words] in link for link in found), found
    assert browser.problems == []


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("page", ["index.html", "settings.html", "start/first_run.html", "faq.html", "study.html"])
def test_no_page_scrolls_sideways(browser: Browser, site: Path, page: str, width: int) -> None:
    browser.problems.clear()
    browser.size(width, 900)
    browser.open(site / page)
    assert browser.run("document.documentElement.scrollWidth") <= width
    assert browser.run(
        "document.querySelectorAll('article img').length === 0 || [...document.images].every((i) => i.complete)"
    )
    assert browser.problems == []
