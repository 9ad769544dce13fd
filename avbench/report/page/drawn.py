"""Pictures that tasks drew of their samples: localization overlays, reconstructions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from avbench.errors import RunError
from avbench.report.page import media
from avbench.report.page.groups import BoardRow
from avbench.store.records import stage_folder

MOST = {"localization": 3, "reconstruction": 2}  # pictures shown of a run
_ORDER = ("best", "first", "worst")
BYTES = 2_500_000  # of one task's pictures; beyond it, runs show fewer


def of_task(task: str, groups: Sequence[BoardRow], results: Path) -> list[dict[str, Any]]:
    """Returns, of each method's first trained run that drew any, the pictures: uri, width, height and alt.

    Args:
        task: The task.
        groups: The page's runs.
        results: The results folder.
    """
    shown: dict[tuple[str, str], dict[str, Any]] = {}
    size = 0
    for each in groups:
        first = each.first
        place = first.data, first.method
        if first.task != task or first.weights == "untrained" or place in shown:
            continue
        found = next(filter(None, (_files(results, task, row.id) for row in each.rows)), None)
        if found is None:
            continue
        run_id, files = found
        drawn = []
        for path in files[: MOST.get(task, 1)]:
            try:
                uri, width, height = media.picture(path, quality=66)
            except RunError:
                continue
            if size + len(uri) > BYTES:
                break
            size += len(uri)
            name = path.stem.replace("_", " ")
            drawn.append(
                {
                    "name": name,
                    "uri": uri,
                    "width": width,
                    "height": height,
                    "alt": f"{first.method}, {task}: {name}",
                }
            )
        if drawn:
            shown[place] = {"data": place[0], "method": place[1], "run": run_id, "pictures": drawn}
    return list(shown.values())


def _files(results: Path, task: str, run_id: str) -> tuple[str, list[Path]] | None:
    folder = stage_folder(results, task, run_id) / "pictures"
    files = sorted(folder.glob("*.png"), key=lambda path: (_place(path.stem), path.name))
    return (run_id, files) if files else None


def _place(name: str) -> int:
    return _ORDER.index(name) if name in _ORDER else len(_ORDER)
