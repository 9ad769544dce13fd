"""Archives: the records of a part of a study in one small file, without weights, read as if they were in runs/.

RESULTS/PART.records.zip is a ZIP of three members, the same bytes for the same records and code:

part.json    the part, what it was made with, its runs, and hashes of the other two; sealed
files.json   ``files``: path below the results to text, of the records and of what the stages before them say of
             themselves; ``tests``: run to what tests need of its samples, as places in arrays.bin
arrays.bin   the arrays, one after another, each content once

A record that is in runs/, too, or in two archives, counts once: as in runs/, or as in the first by name.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avbench.errors import InputError
from avbench.files import Damaged, atomic_path, canonical_json, parse_json, sealed_text

if TYPE_CHECKING:
    import numpy.typing as npt

log = logging.getLogger("avbench")
SUFFIX = ".records.zip"
FORMAT = 1
PART, FILES, ARRAYS = "part.json", "files.json", "arrays.bin"
_DATED = (1980, 1, 1, 0, 0, 0)  # of every member, so that equal records make equal bytes
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, EOFError, RuntimeError, zipfile.BadZipFile)
Place = list[Any]  # offset, type and shape of an array


@dataclass(frozen=True, eq=False)
class Tests:
    """What tests need of the samples of one run.

    Attributes:
        units: (units,) names, of :class:`avbench.metrics.evidence.Evidence`.
        means: Metric to totals and counts, (units,) each.
        drawn: Metric that is no mean to its estimates on the first resamples, (R,).
        outputs: Per-sample outputs as the run wrote them, in the order of ``id``: this, and few others.
    """

    units: npt.NDArray[Any]
    means: Mapping[str, tuple[npt.NDArray[Any], npt.NDArray[Any]]]
    drawn: Mapping[str, npt.NDArray[Any]]
    outputs: Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Archive:
    """One archive; its members are read when first asked for.

    Attributes:
        path: The file.
        stamp: Its time of change and size.
        about: What part.json says.
        runs: Ids of its records.
    """

    path: Path
    stamp: tuple[int, int]
    about: Mapping[str, Any]
    runs: frozenset[str] = field(repr=False)

    def text(self, path: str) -> bytes | None:
        """Returns a file that it holds, by its path below the results; None: it has none such.

        Raises:
            Damaged: The archive cannot be read.
        """
        found = self._files["files"].get(path)
        return None if found is None else found.encode()

    def tests(self, run_id: str) -> Tests:
        """Returns what tests need of a run of it.

        Raises:
            Damaged: The archive cannot be read.
        """
        kept = self._files["tests"][run_id]
        read = self._array
        return Tests(
            read(kept["units"]),
            {name: (read(totals), read(counts)) for name, (totals, counts) in kept["means"].items()},
            {name: read(place) for name, place in kept["drawn"].items()},
            {name: read(place) for name, place in kept["outputs"].items()},
        )

    @functools.cached_property
    def _files(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._member(FILES))
        return found

    @functools.cached_property
    def _data(self) -> bytes:
        return self._member(ARRAYS)

    def _array(self, place: Place) -> npt.NDArray[Any]:
        import numpy as np

        offset, kind, shape = place
        count = int(np.prod(shape, dtype=int))
        return np.frombuffer(self._data, np.dtype(kind), count, offset).reshape(shape)

    def _member(self, name: str) -> bytes:
        try:
            with zipfile.ZipFile(self.path) as file:
                data = file.read(name)
        except _UNREADABLE as error:
            raise _damaged(self.path, " ".join(str(error).split()) or type(error).__name__) from None
        if hashlib.sha256(data).hexdigest() != self.about["sha256"].get(name):
            raise _damaged(self.path, f"the hash of {name} is another")
        return data


def archives(results: Path) -> tuple[Archive, ...]:
    """Returns the archives of a results folder, in order of name; those that cannot be read are named and left out."""
    try:
        changed = os.stat(results).st_mtime_ns  # noqa: PTH116  # asked for each of thousands of runs
    except OSError:
        return ()
    return _archives(str(results), changed)


@functools.lru_cache(maxsize=16)
def _archives(results: str, _changed: int) -> tuple[Archive, ...]:
    found = []
    for path in sorted(Path(results).glob(f"[!.]*{SUFFIX}")):
        try:
            found.append(opened(path))
        except InputError as error:
            log.warning("%s Left out.", error)
    return tuple(found)


def opened(path: Path) -> Archive:
    """Returns an archive.

    Raises:
        Damaged: It is none, or one of a newer version.
    """
    try:
        stat = path.stat()
        with zipfile.ZipFile(path) as file:
            about = parse_json(file.read(PART), path)
        if about["format"] != FORMAT:
            raise _damaged(path, f"format {about['format']}, valid: {FORMAT}; another version of avbench made it")
        return Archive(path, (stat.st_mtime_ns, stat.st_size), about, frozenset(about["runs"]))
    except Damaged:
        raise
    except _UNREADABLE as error:
        raise _damaged(path, " ".join(str(error).split()) or type(error).__name__) from None


def _damaged(path: Path, why: str) -> Damaged:
    return Damaged(f"{path}: the archive cannot be read ({why}).", path)


def holding(results: Path, run_id: str) -> Archive | None:
    """Returns the archive that has the record of a run; None: there is none."""
    return next((each for each in archives(results) if run_id in each.runs), None)


def kept_text(results: Path, path: str) -> bytes | None:
    """Returns what a stage left, by its path below the results, as archives hold it; None: none does.

    Raises:
        Damaged: An archive cannot be read.
    """
    return next((text for each in archives(results) if (text := each.text(path)) is not None), None)


def write(path: Path, about: Mapping[str, Any], files: Mapping[str, str], tests: Mapping[str, Tests]) -> None:
    """Writes an archive.

    Args:
        path: Where; what is there is replaced.
        about: What to say of it.
        files: Path below the results to text.
        tests: Run to what tests need of it.
    """
    data = _Data()
    kept = {
        run: {
            "units": data.add(each.units),
            "means": {
                name: [data.add(totals), data.add(counts)] for name, (totals, counts) in sorted(each.means.items())
            },
            "drawn": {name: data.add(drawn) for name, drawn in sorted(each.drawn.items())},
            "outputs": {name: data.add(array, exact=True) for name, array in sorted(each.outputs.items())},
        }
        for run, each in sorted(tests.items())
    }
    members = {FILES: canonical_json({"files": dict(files), "tests": kept}).encode(), ARRAYS: bytes(data.all)}
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
    part = sealed_text({**about, "format": FORMAT, "runs": sorted(tests), "sha256": hashes})
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_LZMA) as file:
        for name, content in {PART: part.encode(), **members}.items():
            file.writestr(zipfile.ZipInfo(name, _DATED), content, zipfile.ZIP_LZMA)


class _Data:
    """Arrays one after another; one that was added before has its place already."""

    def __init__(self) -> None:
        self.all = bytearray()
        self._places: dict[tuple[str, tuple[int, ...], bytes], Place] = {}

    def add(self, array: npt.NDArray[Any], *, exact: bool = False) -> Place:
        """Returns the place of an array, which was made smaller where no printed number can tell."""
        import numpy as np

        stored = np.ascontiguousarray(array if exact else narrowed(array))
        if stored.dtype.hasobject:
            raise InputError(f"archive: found an array of {stored.dtype}, valid: numbers or text.")
        raw = stored.tobytes()
        key = (stored.dtype.str, stored.shape, hashlib.sha256(raw).digest())
        if key not in self._places:
            self.all += b"\0" * (-len(self.all) % 8)
            self._places[key] = [len(self.all), stored.dtype.str, list(stored.shape)]
            self.all += raw
        return self._places[key]


def narrowed(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Returns numbers in fewer bytes: whole ones exactly, others in single precision (a relative error of 6e-8)."""
    import numpy as np

    if array.dtype.kind not in "biuf":
        return array
    for kind in (np.uint8, np.uint16, np.int32):
        limits = np.iinfo(kind)
        if array.size and np.isfinite(array).all() and limits.min <= array.min() and array.max() <= limits.max:
            whole = array.astype(kind)
            if (whole == array).all():
                return whole
    return array.astype(np.float32) if array.dtype.kind == "f" else array


def runs_of(results: Path) -> Iterable[tuple[str, Archive]]:
    """Yields the runs that archives have, each with the archive that counts."""
    seen: set[str] = set()
    for each in archives(results):
        for run in sorted(each.runs - seen):
            yield run, each
        seen |= each.runs
