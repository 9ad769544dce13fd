"""Another interpreter of this program, with a connection to it: no fork, so threads and open files do not matter."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO

import avbench

#: Of an interpreter that computes on one core: NumPy's linear algebra would otherwise reserve threads and memory.
ONE_CORE = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def start(
    arguments: Sequence[str],
    theirs: Connection,
    log: IO[bytes],
    *,
    paths: Iterable[str] | None = None,
    variables: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Starts an interpreter that inherits one end of a pipe, which is closed here.

    Args:
        arguments: What follows the interpreter's name; the number of ``theirs`` among them.
        theirs: Its end of the pipe.
        log: Where its errors go.
        paths: Where it looks for modules beside this package; None: where PYTHONPATH says.
        variables: Of its environment, over this process's own.
    """
    home = str(Path(avbench.__file__).parents[1])
    others = [os.environ.get("PYTHONPATH", "")] if paths is None else paths
    found = os.pathsep.join(dict.fromkeys([home, *filter(None, others)]))
    process = subprocess.Popen(
        [sys.executable, *arguments],
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=log,
        env={**os.environ, "PYTHONPATH": found, **(variables or {})},
    )
    theirs.close()
    return process
