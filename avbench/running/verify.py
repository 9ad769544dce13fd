"""Is all that a results folder holds what was written? Everything is read and compared with its hashes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from avbench.config import DataConfig, InputConfig
from avbench.data.locate import PREPARED, locate
from avbench.errors import AvbenchError, InputError
from avbench.files import Damaged, is_sealed, parse_json, read_json
from avbench.settings import build
from avbench.store import seal
from avbench.store.archive import SUFFIX, opened
from avbench.store.records import read_per_sample, read_record, record_paths

_NOTES = ("jobs/[!.]*.json", "sweeps/*/[!.]*.json", "stages/*/*/started.json")


class Verification:
    """Reads all of a results folder, and changes nothing in it.

    Args:
        results: The folder.

    Attributes:
        counts: What was looked at, in the plural -> how many.
        unsealed: Files of a version that noted no hashes: only their form was checked.
    """

    def __init__(self, results: Path) -> None:
        self.results = results
        self.counts: Counter[str] = Counter()
        self.unsealed = 0
        self._runs: dict[str, list[str]] = {}  # a stage's id -> the runs that read it
        self._data: set[Path] = set()

    def problems(self, *, data: bool) -> Iterator[str]:
        """Yields one line a problem: the file, what is wrong with it, and what is to be computed again.

        Args:
            data: Look at the prepared clips, too.
        """
        yield from self._records()
        yield from self._archives()
        yield from self._stages()
        for path in (path for pattern in _NOTES for path in sorted(self.results.glob(pattern))):
            self.counts["notes"] += 1
            try:
                read_json(path)
            except InputError as error:
                yield f"{error} No number depends on it; it may be deleted."
        if data:
            yield from self._clips()

    def _records(self) -> Iterator[str]:
        for path in record_paths(self.results):
            self.counts["records"] += 1
            run = path.parent.name
            try:
                record = read_record(self.results, run) or {}
                if record.get("id") != run:
                    raise Damaged(f"{path}: found the record of {record.get('id')}, valid: of {run}.", path)
            except InputError as error:
                yield str(error)
                continue
            self.unsealed += not is_sealed(path)
            self._note(record)
            try:
                read_per_sample(self.results, run)
            except InputError as error:
                yield f"{error} ({_name(record)})"

    def _archives(self) -> Iterator[str]:
        for path in sorted(self.results.glob(f"[!.]*{SUFFIX}")):
            self.counts["archives"] += 1
            try:
                archive = opened(path)
                for run in sorted(archive.runs):
                    record = parse_json(archive.text(f"runs/{run}/record.json") or b"", f"{path}: run {run}")
                    if record.get("id") != run or len(archive.tests(run).units) == 0:
                        raise Damaged(f"{path}: found no record of run {run} with outputs.", path)
                    self.counts["archived records"] += 1
            except (InputError, KeyError, ValueError, TypeError) as error:
                yield f"{error} Archive it again from the folder that it was made of."

    def _note(self, record: Mapping[str, Any]) -> None:
        """Notes which stages a run read, and which clips."""
        for stage in (stage for stages in record.get("stages", {}).values() for stage in stages):
            self._runs.setdefault(stage, []).append(_name(record))
        try:
            section = build(DataConfig, record["config"].get("data", {}))
            inputs = build(InputConfig, record["config"].get("input", {}))
            self._data |= {locate(each, inputs).clips for each in (section, section.judged)}
        except (AvbenchError, KeyError, AttributeError):
            pass  # clips that are not here, or embeddings that somebody gave

    def _stages(self) -> Iterator[str]:
        for folder in sorted(self.results.glob("stages/*/[!.]*")):
            again = f"the command of {', '.join(self._runs.get(folder.name, ())) or 'its run'} computes it again."
            if (folder / seal.DONE).exists():
                self.counts["stages"] += 1
                for damage in seal.damages(folder, seal.WHOLE, everything=True):
                    yield f"{damage} {again[0].upper()}{again[1:]}"
                self.unsealed += not is_sealed(folder / seal.DONE)
            yield from (f"{damage} Only a training that resumes reads it." for damage in self._checkpoints(folder))

    def _checkpoints(self, folder: Path) -> Iterator[Damaged]:
        from avbench.training.state import checked

        for path in sorted(path.parent for path in folder.glob("*/**/state.json")):
            self.counts["checkpoints"] += 1
            try:
                checked(path)
            except Damaged as damage:
                if path.exists():  # a training that goes on keeps the newest ones only
                    yield damage

    def _clips(self) -> Iterator[str]:
        from avbench.data.prepare.verify import verify

        for folder in sorted(self._data):
            if (folder / PREPARED).is_file():
                self.counts["prepared folders"] += 1
                for problem in verify(folder):
                    yield f"{folder}: {problem}; delete the folder and prepare it again."


def _name(record: Mapping[str, Any]) -> str:
    return f"run {record.get('id')} ({record.get('method')} {record.get('task')} seed {record.get('seed')})"
