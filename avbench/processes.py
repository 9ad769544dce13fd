"""Other interpreters of this program, which run the same code as this one, or refuse to.

No fork, so threads and open files do not matter.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO

from avbench.errors import InputError

_PACKAGE = Path(__file__).resolve().parent
CODE = "AVBENCH_CODE"  # in the environment of a worker: the hash of the code of the process that started it
#: Of an interpreter that computes on one core: NumPy's linear algebra would otherwise reserve threads and memory.
ONE_CORE = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def words(*arguments: str) -> list[str]:
    """Returns the command line of ``avbench`` in an interpreter of its own; see :func:`environment`."""
    return [sys.executable, "-m", "avbench", *arguments]


def environment(paths: Iterable[str] | None = None) -> dict[str, str]:
    """Returns the variables by which a worker finds the code of this process, and can tell whether it is the same.

    It does not look for modules in the working folder by itself, where a checkout with other code may lie.

    Args:
        paths: Where it looks for modules beside this package; None: where this process does, such as for plug-ins.
    """
    from avbench.store.provenance import code_sha256

    home = str(_PACKAGE.parent)
    own = [str(Path(path).absolute()) for path in sys.path if not _is_pythons(path)]
    found = [home, *filter(None, own if paths is None else paths)]
    return {"PYTHONPATH": os.pathsep.join(dict.fromkeys(found)), "PYTHONSAFEPATH": "1", CODE: code_sha256()}


def _is_pythons(path: str) -> bool:
    """Returns whether a path is of Python's own library, which each interpreter finds by itself."""
    library = sysconfig.get_path("stdlib")
    return path.endswith(".zip") or (path.startswith(library) and "site-packages" not in path)


def check_code() -> None:
    """Checks, in a process that another of this program started, that both have the same code.

    Raises:
        InputError: They have not.
    """
    from avbench.store.provenance import code_sha256

    wanted = os.environ.get(CODE)
    if wanted and wanted != code_sha256():
        raise InputError(
            f"{_PACKAGE}: found code {code_sha256()[:16]}, valid: {wanted[:16]}, that of what"
            " started this process; the code has changed since, or another is installed here: give the command again."
        )


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
    others = [os.environ.get("PYTHONPATH", "")] if paths is None else paths
    process = subprocess.Popen(
        [sys.executable, *arguments],
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=log,
        env={**os.environ, **environment(others), **(variables or {})},
    )
    theirs.close()
    return process
