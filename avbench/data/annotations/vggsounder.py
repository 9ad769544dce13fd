"""VGGSounder: all that is heard and seen in VGGSound's test clips, label by label.

Source: Zverev et al., ICCV 2025; ``vggsounder.csv`` of its repository, a row for each clip and label.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from avbench.data.catalogue.entry import entry
from avbench.data.corpus.csv_file import read_named
from avbench.errors import InputError

COLUMNS = ("video_id", "label", "modality", "background_music", "static_image", "voice_over")
FLAGS = COLUMNS[3:]
HEARD, SEEN = 1, 2  # bits of a mark
MARKS = {"A": HEARD, "V": SEEN, "AV": HEARD | SEEN}
_WRITTEN = {"true": True, "false": False, "1": True, "0": False, "": False}


@dataclass(frozen=True, eq=False)
class HeardAndSeen:
    """What is heard and seen in each clip.

    Attributes:
        ids: Of the clips.
        classes: VGGSound's, in the official order.
        marks: (n, C) 0, or the bits ``HEARD`` and ``SEEN`` of each label.
        flags: Of each name in ``FLAGS``, (n,) bool.
    """

    ids: list[str]
    classes: tuple[str, ...]
    marks: npt.NDArray[np.uint8]
    flags: dict[str, npt.NDArray[np.bool_]]


def read_vggsounder(path: Path) -> HeardAndSeen:
    """Reads the annotations.

    Raises:
        InputError: It cannot be read, has other columns, or a row that says something else than such rows do.
    """
    data = entry("vggsound")
    columns, rows = read_named(path, ",".join(COLUMNS))
    if missing := [name for name in COLUMNS if name not in columns]:
        raise InputError(f"{path}: found the columns {', '.join(columns) or '(none)'}, missing {', '.join(missing)}.")
    place = {name: i for i, name in enumerate(data.class_names)}
    index: dict[str, int] = {}
    found: list[tuple[int, int, int]] = []
    flags: list[list[bool]] = []
    seen: set[tuple[int, int]] = set()
    for line, row in rows:
        clip = index.setdefault(row["video_id"].strip(), len(index))
        try:
            code, mark = place[data.class_name(row["label"])], MARKS[row["modality"].strip()]
            own = [_WRITTEN[row[name].strip().lower()] for name in FLAGS]
        except KeyError as error:
            raise InputError(
                f"{path}:{line}: found {error}, valid: modality {', '.join(MARKS)}; True or False for the others."
            ) from None
        except InputError as error:
            raise InputError(f"{path}:{line}: {error}") from None
        if (clip, code) in seen:
            raise InputError(f"{path}:{line}: found the label '{row['label']}' a second time, valid: once a clip.")
        seen.add((clip, code))
        found.append((clip, code, mark))
        flags += [own] if clip == len(flags) else []
        flags[clip] = [a or b for a, b in zip(flags[clip], own, strict=True)]
    if not found:
        raise InputError(f"{path}: found no rows, valid: one or more.")
    marks = np.zeros((len(index), len(place)), np.uint8)
    clips, codes, values = np.array(found, np.int64).T
    marks[clips, codes] = values
    columns_of: npt.NDArray[Any] = np.array(flags, np.bool_).T
    return HeardAndSeen(list(index), data.class_names, marks, dict(zip(FLAGS, columns_of, strict=True)))
