"""Results on disk: one folder a run with an atomic JSON record and its per-sample outputs.

RESULTS/runs/ID/record.json      config, provenance, metrics; see :func:`write_record`
RESULTS/runs/ID/per_sample.npz   ``id`` and one array a per-sample output, in the order of ``id``
RESULTS/stages/STAGE/ID/         what stages leave for each other (weights, features)
RESULTS/PART.records.zip         records of other machines or days; see :mod:`avbench.store.archive`
"""

from __future__ import annotations

import io
import logging
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avbench.errors import InputError
from avbench.files import (
    Damaged,
    atomic_folder,
    canonical_json,
    parse_json,
    read_json,
    set_aside,
    sha256_text,
    write_sealed,
)
from avbench.store.archive import holding, runs_of

if TYPE_CHECKING:
    import numpy.typing as npt

log = logging.getLogger("avbench")
SCHEMA = 3  # 3: method options belong to an evaluation's id, and fine-tuning is a stage of its own
#: What reading a damaged .npz may raise.
UNREADABLE = (
    *(OSError, ValueError, EOFError, KeyError, IndexError, TypeError, RuntimeError, MemoryError, OverflowError),
    *(SyntaxError, struct.error, zlib.error, zipfile.BadZipFile),
)
ID_LENGTH = 16  # hexadecimal digits shown and used for folders: 64 bits of the SHA-256


def content_id(key: dict[str, Any]) -> str:
    """Returns the id of a run or stage: the start of the SHA-256 of its canonical JSON."""
    return sha256_text(canonical_json(key))[:ID_LENGTH]


def run_folder(results: Path, run_id: str) -> Path:
    """Returns the folder of a run's record."""
    return results.joinpath("runs", run_id)


def stage_folder(results: Path, stage: str, stage_id: str) -> Path:
    """Returns the folder of a stage's output.

    Args:
        results: The results folder.
        stage: Its name, such as ``pretrain``.
        stage_id: Its id.
    """
    return results.joinpath("stages", stage, stage_id)


def write_record(results: Path, record: dict[str, Any], per_sample: dict[str, npt.NDArray[Any]]) -> Path:
    """Writes one finished run; the folder appears complete or not at all.

    Args:
        results: The results folder.
        record: JSON values with at least ``id``.
        per_sample: Arrays of one row a sample, ``id`` among them.

    Returns:
        The path of the record.
    """
    import numpy as np

    folder = run_folder(results, record["id"])
    with atomic_folder(folder) as temporary:
        np.savez(temporary / "per_sample.npz", allow_pickle=False, **per_sample)
        write_sealed(temporary / "record.json", record)
    return folder / "record.json"


def read_record(results: Path, run_id: str) -> dict[str, Any] | None:
    """Returns a run's record, of runs/ or of an archive, or None when there is none.

    Raises:
        Damaged: The file is there and is not a record, or the archive cannot be read.
    """
    path = run_folder(results, run_id) / "record.json"
    if path.exists():
        return _parse(path)
    archive = holding(results, run_id)
    text = None if archive is None else archive.text(f"runs/{run_id}/record.json")
    return None if text is None else _parse(path, text)


def whole_record(results: Path, run_id: str) -> dict[str, Any]:
    """Returns the record of a run that was listed.

    Raises:
        InputError: It has gone since, or is damaged.
    """
    record = read_record(results, run_id)
    if record is None:
        raise InputError(f"run {run_id}: its record has just gone; see: avbench list runs.")
    return record


def usable_record(results: Path, run_id: str) -> dict[str, Any] | None:
    """Returns a run's record, or None when there is none; a damaged one is set aside, to be computed again."""
    try:
        return read_record(results, run_id)
    except Damaged as damage:
        if damage.path.suffix == ".json":  # an archive has other records
            set_aside(damage)
        else:
            log.warning("%s Run %s is to be computed again.", damage, run_id)
        return None


def _parse(path: Path, text: bytes | None = None) -> dict[str, Any]:
    fix = "the run's command computes it again."
    try:
        record: dict[str, Any] = read_json(path) if text is None else parse_json(text, path)
    except Damaged as damage:
        raise Damaged(f"{damage} {fix[0].upper()}{fix[1:]}", path) from None
    if not {"id", "schema", "metrics"} <= record.keys() or not isinstance(record["metrics"], dict):
        raise Damaged(f"{path}: found no id, schema and metrics; {fix}", path)
    return record


def read_per_sample(
    results: Path, run_id: str, choose: Callable[[list[str]], list[str]] = list
) -> dict[str, npt.NDArray[Any]]:
    """Returns a run's per-sample arrays by name.

    Args:
        results: The results folder.
        run_id: The run.
        choose: From the names there are to those to read; by default all.

    Raises:
        InputError: They are missing or unreadable.
    """
    path = run_folder(results, run_id) / "per_sample.npz"
    if not path.exists() and (archive := holding(results, run_id)) is not None:
        kept = archive.tests(run_id).outputs
        return {name: kept[name] for name in choose(list(kept))}
    try:
        return _arrays(path, choose)
    except UNREADABLE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: per-sample outputs cannot be read ({reason}); run again with --force.") from None


def _arrays(path: Path, choose: Callable[[list[str]], list[str]]) -> dict[str, npt.NDArray[Any]]:
    """Returns arrays of an .npz, read to their ends, where their checksums are compared; NumPy may stop before."""
    from numpy.lib import format as npy

    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            archive.open(member).close()  # the name in the index is that of the member
        found = {}
        for name in choose([member.removesuffix(".npy") for member in archive.namelist()]):
            data = io.BytesIO(archive.read(f"{name}.npy"))
            found[name] = npy.read_array(data, allow_pickle=False)
            if data.read(1):
                raise ValueError(f"{name} is shorter than what was written")
        return found


def record_paths(results: Path) -> list[Path]:
    """Returns where the records of a results folder are, in order of id; without those of archives."""
    return sorted((results / "runs").glob("[!.]*/record.json"))


def run_ids(results: Path) -> list[str]:
    """Returns the ids of all records of a results folder, those of archives among them, in order."""
    return sorted({*(path.parent.name for path in record_paths(results)), *(run for run, _ in runs_of(results))})


def all_records(results: Path) -> Iterator[dict[str, Any]]:
    """Yields every record under a results folder, in order of id; those that are damaged are named and left out.

    Records of an older schema are read as they are, and counted in one warning.
    """
    older = 0
    for run in run_ids(results):
        try:
            record = read_record(results, run)
        except Damaged as damage:
            log.warning("%s Left out.", damage)
            continue
        if record is None:  # it has just gone
            continue
        older += record["schema"] != SCHEMA
        yield record
    tell_older(results, older)


def tell_older(results: Path, count: int) -> None:
    """Says how many records of a folder are of an older schema, if there are any."""
    if count:
        log.warning(
            "%s: %d %s of an older schema than %d: read as they are; the same commands compute them again.",
            results / "runs",
            count,
            "record is" if count == 1 else "records are",
            SCHEMA,
        )
