"""Records put into an archive: each with the stages it names, and with what tests need of its samples."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from avbench import registry
from avbench.compare.outputs import draws, evidence_of
from avbench.errors import InputError
from avbench.files import Damaged
from avbench.processes import code_sha256
from avbench.running import current
from avbench.store import archive, seal, stages
from avbench.store.archive import SUFFIX, Tests
from avbench.store.provenance import git_state
from avbench.store.records import SCHEMA, read_per_sample, run_folder
from avbench.store.rows import Row, trained_here
from avbench.version import __version__

_SHOWN = ("pretrain", "finetune")  # stages whose course is drawn
_JOINED = "classification"  # whose models of one modality tables also judge two together


def collect(results: Path, rows: Sequence[Row], path: Path) -> int:
    """Writes an archive of some records of a results folder.

    Args:
        results: The folder.
        rows: The records.
        path: The archive.

    Returns:
        Its size in bytes.

    Raises:
        InputError: There are no records, or outputs of one are gone.
    """
    if not rows:
        raise InputError(f"archive: found no such records in {results}, valid: one or more; see: avbench list runs.")
    files: dict[str, str] = {}
    tests: dict[str, Tests] = {}
    for row in sorted(rows, key=lambda row: row.id):
        files |= dict(_files(results, row))
        tests[row.id] = _tests(results, row)
    made = {name: current.configured(row) for name, row in {current.key(row): row for row in rows}.items()}
    about = {
        "part": path.name.removesuffix(SUFFIX),
        "schema": SCHEMA,
        "avbench": __version__,
        "commit": git_state()["commit"],
        "code_sha256": code_sha256(),
        "made": made,
    }
    archive.write(path, about, files, tests)
    return path.stat().st_size


def _files(results: Path, row: Row) -> Iterator[tuple[str, str]]:
    """Yields the record, and what its stages say of themselves, by path below the results."""
    record = f"runs/{row.id}/record.json"
    yield record, _text(results, record)
    todo = [(stage, str(name)) for stage, names in row.spent.get("stages", {}).items() for name in names]
    train = row.config.settings.get("train") or {}
    todo += [("pretrain", name) for name in (row.pretraining, trained_here(row.checkpoint or train.get("init") or ""))]
    seen: set[tuple[str, str]] = set()
    while todo:
        each = todo.pop()
        if each in seen or not each[1]:
            continue
        seen.add(each)
        for file in (seal.DONE, *((stages.LOG,) if each[0] in _SHOWN else ())):
            path = f"stages/{each[0]}/{each[1]}/{file}"
            if text := _text(results, path, missing=True):
                yield path, text
        with contextlib.suppress(Damaged):  # of weights that are others', or that are gone
            init = stages.done(results, *each).get("init") or {}
            todo.append(("pretrain", trained_here(str(init.get("source") or ""))))


def _text(results: Path, path: str, *, missing: bool = False) -> str:
    file = results / path
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        kept = archive.kept_text(results, path)
        if kept is None and not missing:
            raise Damaged(f"{file}: no such file.", file) from None
        return (kept or b"").decode()
    except (OSError, UnicodeDecodeError) as error:
        raise Damaged(f"{file}: cannot be read ({error}).", file) from None


def _tests(results: Path, row: Row) -> Tests:
    """Returns what tests need of a run's samples, in the order of ids; of an archived one what its archive has."""
    kept = archive.holding(results, row.id)
    if kept is not None and not run_folder(results, row.id).exists():
        return kept.tests(row.id)
    outputs = read_per_sample(results, row.id, _computed)
    found = evidence_of(outputs, row.task, row.config.settings.get("task") or {})
    drawn = {name: each for name, each in draws(found).items() if name not in found.means}
    means = {name: (each.totals, each.counts) for name, each in found.means.items()}
    return Tests(found.units, means, drawn, _outputs(row, outputs))


def _computed(there: Sequence[str]) -> list[str]:
    return [name for name in there if name != "map" and not name.endswith("_embedding")]


def _outputs(row: Row, outputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """Returns the ids and, of fine-tuned models of one modality, class scores: tables join two of these models."""
    method = registry.entries("method").get(row.method)
    alone = row.task == _JOINED and method is not None and len(method.card["modalities"]) == 1
    names = [n for n in outputs if n == "id" or (alone and (n == "target" or n.endswith("/scores")))]
    order = np.argsort(outputs["id"], kind="stable")
    return {name: outputs[name][order] for name in names}
