"""Events in time: what happens in a clip, from which second to which.

AVE's ``Annotations.txt`` (Tian et al., ECCV 2018): ``Category&VideoID&Quality&StartTime&EndTime`` in whole seconds of
the clip, with or without that line as its first. Or a CSV with the columns ``id,label,start,end``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from avbench.data.corpus.csv_file import read_cells, read_named
from avbench.errors import InputError

COLUMNS = ("id", "label", "start", "end")
_VALID = "AVE's Annotations.txt (Category&VideoID&Quality&StartTime&EndTime) or a CSV with id,label,start,end"


@dataclass(frozen=True)
class Event:
    """One kind of event in one clip: a sample. A clip with several kinds is as many samples, as in AVE.

    Attributes:
        clip: The clip's id.
        label: What happens.
        spans: From which second to which, the end not included; several where it happens again.
    """

    clip: str
    label: str
    spans: tuple[tuple[float, float], ...]

    def during(self, second: int) -> bool:
        """Returns whether it happens in the middle of a second, counted from 0."""
        return any(start <= second + 0.5 < end for start, end in self.spans)


def read_events(path: Path) -> list[Event]:
    """Returns the events of a file, in its order.

    Raises:
        InputError: The file cannot be read, or a row is something else.
    """
    spans: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for line, clip, label, start, end in _rows(Path(path)):
        try:
            span = float(start), float(end)
        except ValueError:
            span = math.nan, math.nan
        if not clip or not label or not 0 <= span[0] <= span[1] < math.inf:
            found = ",".join((clip, label, start, end))
            raise InputError(f"{path}:{line}: found {found}, valid: id, label, start and a later end, in seconds.")
        spans.setdefault((clip, label), []).append(span)
    if not spans:
        raise InputError(f"{path}: found no event, valid: {_VALID}.")
    return [Event(clip, label, tuple(found)) for (clip, label), found in spans.items()]


def _rows(path: Path) -> Iterator[tuple[int, str, str, str, str]]:
    """Yields line, id, label, start and end."""
    if path.suffix.lower() == ".csv":
        header, rows = read_named(path, _VALID)
        missing = next((name for name in COLUMNS if name not in header), None)
        if missing is not None:
            raise InputError(f"{path}: lacks the column '{missing}', valid: {_VALID}.")
        for line, row in rows:
            clip, label, start, end = (row[name].strip() for name in COLUMNS)
            yield line, clip, label, start, end
        return
    for line, cells in read_cells(path, _VALID, delimiter="&", quoted=False):
        if len(cells) != 5:
            raise InputError(f"{path}:{line}: found {'&'.join(cells)}, valid: {_VALID}.")
        label, clip, _, start, end = (cell.strip() for cell in cells)
        if clip != "VideoID":  # the header of some copies
            yield line, clip, label, start, end
