"""The marks of a cell, and the sentences below a table that say what they mean."""

from __future__ import annotations

TIED = "tied"
OTHER_N = "other_n"
OTHER_SETTINGS = "other_settings"
OTHER_CLIPS = "other_clips"
OURS = "ours"
MARKS = {
    TIED: (
        "≈",
        "a paired bootstrap over clips cannot separate it from the best (95 % interval of the difference has 0)",
    ),
    OTHER_N: ("#", "n is not the published n, so that test sets differ"),
    OTHER_SETTINGS: ("‡", "settings differ from those of the published row"),
    OTHER_CLIPS: ("§", "judged on other clips than the rest of the column"),
    OURS: ("¶", "our recipe: the paper does not state its own, or it cannot be had exactly"),
}
DASH = "–"


def sign(name: str) -> str:
    """Returns the sign of a mark."""
    return MARKS[name][0]


def meaning(name: str) -> str:
    """Returns what a mark means."""
    return f"{MARKS[name][0]} {MARKS[name][1]}"
