"""A process that decodes files, one at a time, within a bounded address space.

It is a child of :mod:`avbench.data.prepare.pool` that imports nothing of the program that wants files decoded (no
torch), and may crash alone.
"""

from __future__ import annotations

import contextlib
import json
import signal
from multiprocessing.connection import Connection

from avbench.data.media.decode import DecodedSpan, decode_windows
from avbench.data.media.modalities import modalities_of_file
from avbench.data.media.prepare_settings import PrepareSettings
from avbench.data.media.verdict import Rejected
from avbench.data.prepare.packed import Packed, on_disk
from avbench.data.prepare.payload import Done, Message, Refusal, Tracks, encode
from avbench.processes import leave_stops_to_parent
from avbench.settings import build


def serve(connection: Connection, options: str) -> None:
    """Decodes the files that are named on a connection until the other side closes it.

    Args:
        connection: Where paths, or places in other files, come from, and clips go to.
        options: :class:`PrepareSettings` as JSON, and whether files are decoded or asked what they have.
    """
    leave_stops_to_parent()
    # A scheduler ends all processes at once: one that went before the driver would be taken for a crash of its file.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    asked = json.loads(options)
    settings, work = build(PrepareSettings, asked["settings"]), _decode if asked["decode"] else _ask
    _limit_memory(settings.memory_gb)
    # A closed connection means that the driver is gone: nobody waits for the answer.
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        connection.send("ready")
        while True:
            work(connection, connection.recv(), settings)


def _decode(connection: Connection, medium: str | Packed, settings: PrepareSettings) -> None:
    start = 0.0
    try:
        with on_disk(medium, settings.max_pixels) as path:
            for clip in decode_windows(path, settings):
                message: Message
                if isinstance(clip, DecodedSpan):
                    start, message = clip.start, encode(clip, settings)
                else:
                    start, message = clip[0], Refusal(clip[0], str(clip[1]))
                connection.send(message)
                start += settings.step
    except Rejected as error:
        connection.send(Refusal(start, str(error)))
    except MemoryError:
        connection.send(Refusal(start, "needs too much memory"))
    except (BrokenPipeError, ConnectionResetError):
        raise
    except Exception as error:  # whatever a hostile file provokes must not end the run
        connection.send(Refusal(start, f"cannot be decoded: {type(error).__name__}: {error}".splitlines()[0][:200]))
    connection.send(Done())


def _ask(connection: Connection, medium: str | Packed, settings: PrepareSettings) -> None:
    try:
        with on_disk(medium, settings.max_pixels) as path:
            connection.send(Tracks(modalities_of_file(path, settings.max_pixels)))
    except (BrokenPipeError, ConnectionResetError):
        raise
    except Exception as error:  # such as Rejected, or whatever a hostile file provokes
        connection.send(Refusal(0.0, str(error)))
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
