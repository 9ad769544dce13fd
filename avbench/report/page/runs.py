"""What lies behind a row: its runs, their settings, and the curves of their pretraining."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from avbench.files import Damaged
from avbench.report.page.groups import BoardRow
from avbench.running.current import resolved
from avbench.store import stages
from avbench.store.rows import Config, Row

log = logging.getLogger("avbench")
POINTS = 60  # of a curve
_NOT_CURVES = ("step", "epoch", "wall_s", "clips_per_s", "data_wait_share")
_SECTIONS = ("method", "task", "data", "input", "model", "train")
_DIGITS = 5  # significant ones of a curve's points


class Interned:
    """Values that occur often, kept once and named by their number."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._places: dict[str, int] = {}

    def __call__(self, value: Any) -> int:
        """Returns the number of a JSON value."""
        key = repr(value)
        if key not in self._places:
            self._places[key] = len(self.values)
            self.values.append(value)
        return self._places[key]


def described(groups: Sequence[BoardRow], results: Path) -> dict[str, Any]:
    """Returns all runs by id, with what they share kept once.

    Returns:
        ``runs``: id to what the page shows of it; ``sections``, ``hardware``, ``versions``: what they name by number;
        ``curves``: of each pretraining, steps and series.
    """
    sections, hardware, versions = Interned(), Interned(), Interned()

    @functools.cache
    def places(config: Config) -> list[int]:
        return [sections([name, config.settings.get(name) or {}]) for name in _SECTIONS]

    runs: dict[str, Any] = {}
    curves: dict[str, Any] = {}
    for i, each in enumerate(groups):
        for row in (*each.rows, *each.older):
            stage = row.pretraining
            if stage and stage not in curves:
                curves[stage] = curve(results, stage)
            about, spent, settings = row.about, row.spent, row.config.settings
            git = about.get("git") or {}
            runs[row.id] = {
                "group": i,
                "seed": row.seed,
                "n": row.n,
                "ids": row.ids_sha256,
                "split": row.split,
                "precision": row.precision,
                "created": row.created,
                "commit": git.get("commit") or "",
                "dirty": bool(git.get("dirty")),
                "hardware": hardware(_hardware(about.get("hardware") or {})),
                "versions": versions(about.get("versions") or {}),
                "wall": spent.get("wall_s") or {},
                "hours": spent.get("device_hours"),
                "metrics": {key: round(value, 6) for key, value in row.metrics.items()},
                "curve": stage if curves.get(stage) else "",
                "config": places(row.config),
                "presets": settings.get("presets") or [],
                "checkpoint": row.checkpoint,
            }
    return {
        "runs": runs,
        "sections": sections.values,
        "hardware": hardware.values,
        "versions": versions.values,
        "curves": {stage: found for stage, found in curves.items() if found},
    }


def _hardware(found: Mapping[str, Any]) -> str:
    parts = [found.get("gpu") or found.get("processor") or found.get("device") or ""]
    if found.get("cores"):
        parts.append(f"{found['cores']} cores")
    if found.get("memory_gib"):
        parts.append(f"{found['memory_gib']} GiB")
    return ", ".join(str(part) for part in parts if part)


def differences(row: Row) -> list[list[Any]] | None:
    """Returns the settings of a run that differ from those its presets give: key, its value, the preset's.

    None: that cannot be told, such as of a method that is not installed here.
    """
    config = row.config.settings
    data = (config.get("data") or {}).get("source") or None
    found_today = resolved(row.method, row.task, data, tuple(config.get("presets") or ()))
    if found_today is None:
        return None
    usual = found_today.to_dict()
    found = []
    for name in _SECTIONS:
        own, other = config.get(name) or {}, usual.get(name) or {}
        found += [
            [f"{name}.{key}", own.get(key), other.get(key)]
            for key in dict.fromkeys([*own, *other])
            if key not in ("name", "version") and own.get(key) != other.get(key)
            if key in own or other.get(key)  # a setting newer than the record, and off by default
        ]
    return found


def curve(results: Path, stage: str) -> dict[str, Any] | None:
    """Returns steps and series of a pretraining's log, of :data:`POINTS` points at most; None where there is none."""
    try:
        rows = stages.course(results, "pretrain", stage)
    except Damaged as damage:
        log.warning("%s Its curve is left out.", damage)
        return None
    rows = [rows[i] for i in _spread(len(rows))]
    names = [name for name in (rows[0] if rows else {}) if name and name not in _NOT_CURVES]
    series = {name: [_number(row[name]) for row in rows] for name in names}
    series = {name: values for name, values in series.items() if any(value is not None for value in values)}
    steps = [_number(row.get("step")) for row in rows]
    if len(rows) < 2 or None in steps or not series:
        return None
    return {"step": steps, "series": series}


def _spread(n: int) -> list[int]:
    """Returns the places of at most :data:`POINTS` rows, first and last among them."""
    if n <= POINTS:
        return list(range(n))
    return sorted({round(i * (n - 1) / (POINTS - 1)) for i in range(POINTS)})


def _number(text: str | None) -> float | None:
    try:
        value = float(f"{float(text or ''):.{_DIGITS}g}")
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None
