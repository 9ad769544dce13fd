"""The journal of a sweep's study: Optuna's operations, a line each, with the line's checksum in front.

The driver alone opens it. The operations before the first line that is not what was written are a study as it was once;
its trials are asked for again from there, and what they computed is in the records.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend

from avbench.files import Damaged, atomic_path, parse_json, set_aside
from avbench.files.unwritten import writing

_DIGITS = 8  # of the checksum


class Journal(BaseJournalBackend):
    """A file of operations, which it sets aside where it is damaged.

    Args:
        path: The file, which need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        data = path.read_bytes() if path.exists() else b""
        lines = data.split(b"\n")[:-1]  # without a torn last line, which a full disk or a killed driver left
        self._logs: list[dict[str, Any]] = []
        damage = None
        for number, line in enumerate(lines, 1):
            try:
                self._logs.append(_operation(line, path))
            except Damaged as error:
                damage = Damaged(f"{path}: line {number} is not what was written ({error}).", path)
                break
        kept = b"".join(line + b"\n" for line in lines[: len(self._logs)])
        if damage is not None:
            set_aside(damage)
        if kept != data:
            with atomic_path(path) as temporary:
                temporary.write_bytes(kept)

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """Returns the operations from a number on."""
        return self._logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Writes operations; where they cannot be, the file stays as it was.

        Raises:
            OSError: They cannot be written.
        """
        texts = [json.dumps(log, separators=(",", ":")).encode() for log in logs]
        with writing(self._path), self._path.open("ab") as handle:
            size = handle.tell()
            try:
                handle.write(b"".join(b"%08x %s\n" % (zlib.crc32(text), text) for text in texts))
                handle.flush()
                os.fsync(handle.fileno())
            except OSError:
                os.truncate(self._path, size)
                raise
        self._logs += [json.loads(text) for text in texts]


def _operation(line: bytes, path: Path) -> dict[str, Any]:
    """Returns the operation of a line; one of an older version has no checksum.

    Raises:
        Damaged: It is not what was written.
    """
    text = line if line.startswith(b"{") else line[_DIGITS + 1 :]
    found: dict[str, Any] = parse_json(text, path)
    if (text is not line and line != b"%08x %s" % (zlib.crc32(text), text)) or "op_code" not in found:
        raise Damaged(f"{path}: found another line than was written.", path)
    return found
