"""A process that decodes files, one at a time, within a bounded address space.

Started by :mod:`avbench.data.prepare.pool` as ``python -m avbench.data.prepare.worker DESCRIPTOR
SETTINGS``. It is a process of its own and not a ``multiprocessing`` child, so that it imports nothing of the program that wants files decoded (no
torch), works from notebooks and unguarded scripts, and may crash alone.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
from multiprocessing.connection import Connection

from avbench.data.media.decode import Clip, decode_windows
from avbench.data.media.prepare_settings import PrepareSettings
from avbench.data.prepare.payload import Done, Message, Refusal, encode
from avbench.settings import build


def main() -> None:
    """Serves files until the other side closes the connection."""
    # Ctrl-C reaches every process of the terminal; the driver alone decides what to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = Connection(int(sys.argv[1]))
    settings = build(PrepareSettings, json.loads(sys.argv[2]))
    _limit_memory(settings.memory_gb)
    # A closed connection means that the driver is gone: nobody waits for the answer.
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        connection.send("ready")
        while True:
            _serve(connection, connection.recv(), settings)


def _serve(connection: Connection, path: str, settings: PrepareSettings) -> None:
    start = 0.0
    try:
        for clip in decode_windows(path, settings):
            message: Message
            if isinstance(clip, Clip):
                start, message = clip.start, encode(clip, settings)
            else:
                start, message = clip[0], Refusal(clip[0], str(clip[1]))
            connection.send(message)
            start += settings.step
    except MemoryError:
        connection.send(Refusal(start, "needs too much memory"))
    except (BrokenPipeError, ConnectionResetError):
        raise
    except Exception as error:  # whatever a hostile file provokes must not end the run
        connection.send(Refusal(start, f"cannot be decoded: {type(error).__name__}: {error}".splitlines()[0][:200]))
    connection.send(Done())


def _limit_memory(gigabytes: float) -> None:
    with contextlib.suppress(ImportError, ValueError, OSError):  # not every system can
        import resource

        limit = int(gigabytes * 2**30)
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        if hard != resource.RLIM_INFINITY:
            limit = min(limit, hard)
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
        # A crash is reported by the driver; a dump of gigabytes would be no help.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    main()
