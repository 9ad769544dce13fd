"""Plain words: constructions that readers stumbled over do not come back, in code, messages or pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# What was written, and what readers know in its place.
PLAIN = {
    r"beside each other": "in parallel, or next to each other",
    r"\b(?:go(?:es|ing)?|gone) on with\b|again to go on\b": "resume",
    r"\bless is better": "lower is better",
    r"\bmore is better": "higher is better",
    r"\"(?:more|less)\"\} is better": "higher, lower",
    r"\bweights? (?:come|comes|came) about": "how weights are obtained",
    r"\bwhat a coin\b": "random guessing",
    r"\bmanieth\b": "every n-th",
    r"\buntold\b": "not stated",
    r"\bhomeless\b": "without a place",
    r"\bid\b[^.\n]{0,40} begins so\b": "no run id starts with",
    r"\bis nobody's\b": "ambiguous",
    r"\bdriver is at this": "is running",
    r"[Rr]ight to the \w+ digit": "agrees with ... to 1e-5",
    r"\bbehind stand\b": "followed by",
}
PATTERN = re.compile("|".join(f"({pattern})" for pattern in PLAIN), re.IGNORECASE)
FILES = sorted(
    path
    for place, endings in {
        "avbench": ("py", "yaml", "js", "html"),
        "docs": ("md",),
        "benchmarks": ("py", "md"),
        "sweeps": ("yaml",),
        ".": ("md",),
    }.items()
    for ending in endings
    for path in ((ROOT / place).rglob(f"*.{ending}") if place != "." else ROOT.glob(f"*.{ending}"))
    if path.name != "CHANGELOG.md"  # what was written stays
)


def test_sentences_say_it_plainly() -> None:
    assert len(FILES) > 300
    found = []
    for path in FILES:
        text = re.sub(r"\n[ #]*", " ", path.read_text(encoding="utf-8"))  # a phrase may go over two lines
        found += [f"{path.relative_to(ROOT)}: '{each[0]}'" for each in PATTERN.finditer(text)]
    assert not found


@pytest.mark.parametrize(
    "sentence", ["They run beside each other.", "Of ranks less is better.", "how weights come about"]
)
def test_the_pattern_finds_what_it_is_for(sentence: str) -> None:
    assert PATTERN.search(sentence)
