"""Extended sets: pairs of a picture and a sound of which nothing seen is heard (SLAVC).

Source: docs/protocol/cavmae_sync.md 5.4.
"""

from __future__ import annotations

from pathlib import Path

from avbench.data.annotations.sample import Sample
from avbench.data.corpus.csv_file import read_named
from avbench.errors import InputError

COLUMNS = ("video", "audio", "label")
NEGATIVE = "non-sounding"


def read_negatives(path: Path, *, time: float | None = None) -> list[Sample]:
    """Reads the rows ``video,audio,non-sounding`` of an extended set; each has the id ``VIDEO+AUDIO``.

    Args:
        path: vggss_test_plus_silent.csv, flickr_test_plus_silent.csv.
        time: When in the clips the pictures are, seconds.

    Raises:
        InputError: The file is missing, has other columns, or no negative.
    """
    rows = [row for _, row in read_named(path, f"a CSV with {', '.join(COLUMNS)}")[1]]
    if rows and any(name not in rows[0] for name in COLUMNS):
        raise InputError(f"{path}: found columns {', '.join(rows[0])}, valid: {', '.join(COLUMNS)}.")
    samples = [
        Sample(id=f"{row['video']}+{row['audio']}", truth=None, visual=row["video"], audio=row["audio"], time=time)
        for row in rows
        if (row["label"] or "").strip() == NEGATIVE
    ]
    if not samples:
        raise InputError(f"{path}: found no row labelled {NEGATIVE}, valid: one or more.")
    return samples
