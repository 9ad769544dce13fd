"""Are archived records what the same configuration would be today? Presets and versions of the code may have changed.

An archive holds, for each of its configurations, a hash of what a run's id has of settings and code: all but clips,
weights and seed. Where today's is another, a run of that configuration would have another id.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from avbench import registry
from avbench.config import SECTIONS, DataConfig, RunConfig
from avbench.data.locate import EMBEDDED
from avbench.errors import AvbenchError
from avbench.files import canonical_json, sha256_text
from avbench.running import identity
from avbench.running.layers import task_class
from avbench.running.request import Request, resolve
from avbench.settings import build
from avbench.store.archive import Archive, runs_of
from avbench.store.records import ID_LENGTH, SCHEMA, run_folder
from avbench.store.rows import Row

log = logging.getLogger("avbench")
UNKNOWN = ""  # of anybody's encoder, or of a method that is not installed: whether it has changed cannot be told


def stale(rows: Iterable[Row], results: Path) -> frozenset[str]:
    """Returns which records are of archives and would have other ids today; each archive that has some is named once.

    Args:
        rows: Records of the folder.
        results: The folder.
    """
    archived = dict(runs_of(results))
    if not archived:
        return frozenset()
    found: set[str] = set()
    known: dict[str, str] = {}
    parts: dict[Archive, dict[str, bool]] = {}  # of each the configurations, and whether they have changed
    for row in rows:
        archive = archived.get(row.id)
        if archive is None or run_folder(results, row.id).exists():
            continue
        name = key(row)
        if name not in known:
            known[name] = configured(row)
        changed = archive.about["made"].get(name) != known[name]
        parts.setdefault(archive, {})[name] = changed
        if changed:
            found.add(row.id)
    for archive, changes in parts.items():
        if any(changes.values()):
            _tell(str(archive.path), sum(changes.values()), len(changes))
    return frozenset(found)


@functools.cache
def _tell(path: str, changed: int, every: int) -> None:
    """Says that an archive is stale, once in a process."""
    log.warning(
        "%s: stale: code or presets have changed since, and %d of its %d configurations would have other run ids today;"
        " tables mark them, and their commands compute them again.",
        path,
        changed,
        every,
    )


def key(row: Row) -> str:
    """Returns what an archive calls the configuration of a record."""
    return sha256_text(canonical_json([row.weights, row.config.text]))[:ID_LENGTH]


def configured(row: Row) -> str:
    """Returns the hash of what a run of a record's configuration would have in its id today; see the module."""
    settings = row.config.settings
    presets = tuple(settings.get("presets") or ())
    try:
        own = _built(settings, row)
        usual = resolved(row.method, row.task, own.data.source, presets)
        return sha256_text(canonical_json([_made(each) for each in (own, usual) if each is not None]))
    except (AvbenchError, KeyError, TypeError, AttributeError):
        return UNKNOWN


@functools.cache
def resolved(method: str, task: str, data: str | None, presets: tuple[str, ...]) -> RunConfig | None:
    """Returns what presets give today; None: that cannot be told, such as of a method that is not installed here.

    Args:
        method: The method.
        task: The task.
        data: The data's source.
        presets: Their names.
    """
    try:
        return resolve(Request(method=method, task=task, data=data, presets=presets))
    except (AvbenchError, KeyError, ImportError, OSError):
        return None


def _built(settings: Mapping[str, Any], row: Row) -> RunConfig:
    """Returns a record's configuration as today's code reads it."""
    classes: dict[str, Any] = dict(SECTIONS)
    classes |= {"method": registry.installed("method", row.method).config_class, "task": task_class(row.task)}
    sections = {
        name: build(cls, {key: value for key, value in settings[name].items() if key != "name"}, name)
        for name, cls in classes.items()
    }
    precision: Any = row.precision
    weights: Any = row.weights
    return RunConfig(
        method_name=row.method, task_name=row.task, seed=0, precision=precision, weights=weights, **sections
    )


def _made(config: RunConfig) -> dict[str, Any]:
    """Returns what the ids of a run hold of settings and code: all but clips, weights and seed."""
    entry = registry.find("task", config.task_name)
    usual = identity.identified(DataConfig())  # left out: a setting that is new changes no clips
    return {
        "schemas": [SCHEMA, identity.PRETRAIN_SCHEMA, identity.EXTRACTION_SCHEMA, identity.FINETUNE_SCHEMA],
        **identity.model_key(config, evaluation=True),
        "train": identity.identified(config.train),
        "task": config.task_name,
        "task_version": entry.load().TASK.version,
        **identity.sources("task_source", entry),
        "task_options": identity.identified(config.task),
        "data": {name: value for name, value in identity.identified(config.data).items() if value != usual[name]},
        "embedded": EMBEDDED.get(config.data.source),
    }
