"""The command line: finds the command, parses its options, reports errors as one line.

Only the chosen command's module is imported, so that ``--help`` and ``list`` answer without torch.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import importlib
import logging
import os
import select
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from avbench.commands.terminal import one_line, printable
from avbench.errors import AvbenchError, InputError, Stopped, unknown
from avbench.version import __version__

COMMANDS = {
    "run": "pretrain if needed, evaluate, print the table, say where the record is",
    "pretrain": "the first half of run: train a method, keep its weights",
    "evaluate": "the second half of run: a checkpoint, or a features file, to metrics",
    "grid": "every combination of methods, tasks and seeds; done ones are skipped",
    "sweep": "the papers' ablations, or one's own: settings varied by Optuna; resumes, prunes, plots",
    "status": "which jobs of a grid, a sweep or a cluster wait, run, have failed or are done",
    "features": "write a checkpoint's embeddings of a data set as .npz",
    "predict": "the classes of videos by a fine-tuned model, with their probabilities",
    "compare": "what differs between runs: settings, metrics, paired intervals and p-values",
    "tables": "the papers' tables from the records, with the published numbers: LaTeX, Markdown, CSV, HTML",
    "figures": "the papers' figures and curves of sweeps from the records: PNG, PDF, CSV",
    "report": "all of it as one HTML page that needs no network",
    "archive": "records with what tests need, without weights, in one small file that tables and figures read",
    "verify": "read and hash everything in a results folder; what is damaged, and what to compute again",
    "data": "make, prepare, verify or describe data",
    "checkpoint": "inspect, import, export or push weights",
    "list": "methods, encoders, tasks, data, recipes, presets, weights, settings, tables, figures or runs",
    "check": "what is installed here, and whether it works together; check encoder: whether yours can be judged",
    "bench": "measure this machine: decoding, spectrogram, loader, training step",
}
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_CLOSED = (errno.EACCES, errno.EROFS, errno.EPERM)
_LIMITS = (errno.EMFILE, errno.ENFILE, errno.ENOLCK)
_BROKEN = (errno.EIO, errno.EPIPE, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, *_LIMITS)
_NAMES = (errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP)
_CODE = "AVBENCH_CODE"  # avbench.processes.CODE, without the import: --help takes half the time
USAGE = "usage: avbench COMMAND [options]"


def _print_help() -> None:
    lines = [USAGE, "", "Benchmark and ablation harness for audio-visual self-supervised learning.", "", "commands:"]
    lines += [f"  {name:<12}{text}" for name, text in COMMANDS.items()]
    lines += [
        "",
        "options:",
        "  --help      this text; after a command, that command's options",
        "  --version   the version",
        "  --debug     after any command: show the traceback of an error",
        "",
        "first run:    avbench run --method cavmae --task retrieval",
    ]
    sys.stdout.write("\n".join(lines) + "\n")


def dispatch(arguments: Sequence[str]) -> int:
    """Runs one command and returns its exit status.

    Raises:
        AvbenchError: The command refused its input, or failed.
    """
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        _print_help()
        return 0
    if arguments[0] in ("-V", "--version"):
        sys.stdout.write(f"avbench {__version__}\n")
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        raise unknown("command", name, COMMANDS)
    from avbench.commands.parse import parse
    from avbench.files.paths import check_folder, check_path

    module = importlib.import_module(f"avbench.commands.{name}")
    program = f"avbench {name}"
    chosen: Any
    if hasattr(module, "ACTIONS"):  # a command with sub-commands: data, checkpoint
        actions: dict[str, type] = module.ACTIONS
        if not rest or rest[0] in ("-h", "--help"):
            lines = [f"usage: {program} ACTION [options]", "", "actions:"]
            lines += [f"  {action:<12}{(cls.__doc__ or '').splitlines()[0]}" for action, cls in actions.items()]
            sys.stdout.write("\n".join(lines) + "\n")
            return 0
        if rest[0] not in actions:
            raise unknown(f"{name} action", rest[0], actions)
        chosen, program, rest = actions[rest[0]], f"{program} {rest[0]}", rest[1:]
    else:
        chosen = module.Command
    command = chosen.parse(program, rest) if hasattr(chosen, "parse") else parse(chosen, program, rest)
    for option, value in vars(command).items():
        for path in value if isinstance(value, tuple) else (value,):
            if isinstance(path, Path):
                check_path(f"--{option.replace('_', '-')}", path)
    if isinstance(results := getattr(command, "results", None), Path):
        check_folder("--results", results, writes=False)  # whoever computes asks for more
    return int(command.execute() or 0)


def _check_text(words: Sequence[str]) -> None:
    """Refuses what is no text: it could not be written into a record.

    Raises:
        InputError: A word holds bytes that are not UTF-8.
    """
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError:
            raise InputError(f"{word!a}: found bytes that are not UTF-8, valid: text; rename the file.") from None


def _tell_thread(ended: threading.ExceptHookArgs) -> None:
    """Tells in a line of a thread that could not write, such as TensorBoard's; the command goes on without it."""
    if isinstance(ended.exc_value, OSError):
        name = ended.thread.name if ended.thread is not None else "a thread"
        logging.getLogger("avbench").warning("%s ended: %s", name, ended.exc_value)
    else:
        threading.__excepthook__(ended)


@contextlib.contextmanager
def _ends() -> Iterator[None]:
    """Makes SIGTERM and SIGHUP end the block as Ctrl-C does, so that what it began is cleaned up.

    SIGHUP does nothing under nohup. A second signal ends the process at once, and so does one to a process that was
    forked here.
    """
    own = os.getpid()

    def end(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        if os.getpid() != own:
            os.kill(os.getpid(), number)
        raise Stopped(signal_number=number)

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    mine = [number for number, handler in before.items() if handler is signal.SIG_DFL]
    with contextlib.suppress(ValueError):  # only the main thread may set handlers
        for number in mine:
            signal.signal(number, end)
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):
            for number in mine:
                signal.signal(number, signal.SIG_DFL)


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the ``avbench`` script; returns the exit status (0 done, 1 a run failed, 2 bad input)."""
    with printable():
        try:
            return _run(list(sys.argv[1:] if arguments is None else arguments))
        finally:
            if arguments is None:  # a process of its own: as it ends, nothing is said of a Ctrl-C or a closed output
                _drop_output()
                signal.signal(signal.SIGINT, signal.SIG_DFL)
                gc.freeze()  # or the interpreter looks through all of torch's objects once more: a third of a second


def _run(words: list[str]) -> int:
    """Runs one command and reports its error as one line; returns the exit status."""
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.captureWarnings(True)
    threading.excepthook = _tell_thread
    logging.getLogger("py.warnings").setLevel(logging.INFO if debug else logging.ERROR)
    try:
        if _CODE in os.environ:
            from avbench.processes import check_code

            check_code()
        _check_text(words)
        with _ends():
            status = dispatch(words)
        sys.stdout.flush()
        return status
    except AvbenchError as error:
        if debug:
            raise
        _tell(f"avbench: error: {one_line(str(error))}")
        return error.exit_status
    except KeyboardInterrupt as stop:
        text = str(stop) or "interrupted; the same command resumes where it stopped."
        _tell(f"avbench: {one_line(text)}")
        return 128 + (getattr(stop, "signal_number", None) or signal.SIGINT)
    except OSError as error:
        if error.errno == errno.EPIPE and _drop_output():  # who reads it has seen enough, such as head
            return 128 + signal.SIGPIPE
        temporary = error.errno == errno.ENOENT and "temporary directory" in str(error)  # nowhere to write, /tmp too
        if debug or not (temporary or error.errno in (*_FULL, *_CLOSED, *_BROKEN, *_NAMES)):
            raise
        name = one_line(str(error.filename or "writing"))
        if error.errno == errno.ENAMETOOLONG:  # of what a user named: no name of ours is that long
            _tell(f"avbench: error: {name}: found a name that is too long, valid: 255 bytes.")
            return 2
        fix = "make room or name another folder" if temporary or error.errno in _FULL else "name another file or folder"
        fix = "name another, or one that you may use" if error.errno in _CLOSED else fix
        fix = "look at the disk or the limits of the system" if error.errno in _BROKEN else fix
        _tell(f"avbench: error: {name}: {error.strerror}; nothing was lost, {fix} and run the same command again.")
        return 1


def _tell(line: str) -> None:
    """Writes a line to standard error, where somebody reads it."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{line}\n")


def _drop_output() -> bool:
    """Lets go what an output cannot take, which is full or read by nobody: the interpreter would fail on it.

    Returns whether there is such an output.
    """
    dropped = False
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        ended = select.poll()
        ended.register(number, 0)  # asks for errors alone: nobody reads
        try:
            stream.flush()
            taken = not ended.poll(0)
        except OSError:
            taken = False
        if not taken:
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
            dropped = True
    return dropped


if __name__ == "__main__":
    sys.exit(main())
