"""Compares this checkout with an earlier commit: ``python benchmarks/against.py COMMIT [--parts step item ...]``.

The commit is checked out beside this one and both are measured in processes of their own, in turn. Counted are
processor seconds of all threads: on a busy machine the clock on the wall has shown a clip at 0.4 to 1.8 of its speed.
Each part is set up by the commit's own ``avbench.bench``, so that what is timed is what that commit
does. Printed are the least times, the median of the ratios of neighbouring repetitions (above 1: this checkout is
faster), and whether both computed the same bits: the weights after a step, features, an item, ranks.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tabulate import tabulate

ROOT = Path(__file__).resolve().parent.parent
SIZES: dict[str, dict[str, int]] = {  # of the model whose step and features are timed
    "tiny": {"embed_dim": 96, "num_heads": 3, "modality_depth": 3, "decoder_embed_dim": 64, "decoder_depth": 1},
    "small": {"embed_dim": 384, "num_heads": 6, "decoder_embed_dim": 256},
    "base": {},
}
WORK = tuple[Callable[[], Any], Callable[[], Any]]  # what is timed, and then what of it is to be equal
RUN = (
    *("run", "--method", "cavmae", "--task", "retrieval", "--device", "cpu", "--set", "data.train_clips=24"),
    *("data.test_clips=16", "train.batch_size=8", "train.steps=2", "train.workers=0"),
)
COMMANDS = {"help": ("--help",), "list": ("list", "methods"), "again": RUN}  # of ``start``; again: the record is there


def _step(size: str, folder: Path) -> WORK:
    from avbench.bench import step

    method = step.CavMae(step.CavMaeConfig(), step.ModelConfig(**SIZES[size]), step.InputConfig())
    config, batch = step.TrainConfig(batch_size=4, lr=1e-6), step._batch(method)
    if hasattr(step, "session_of"):
        ours = partial(step.session_of(method, config, "fp32", folder).step, waited=0.0)
    else:  # in earlier commits
        ours = step._ours(method, config, "fp32", folder)
    return lambda: ours(batch), lambda: list(method.state_dict().values())


def _features(size: str, folder: Path) -> WORK:
    import torch

    from avbench.bench import step

    method = step.CavMae(step.CavMaeConfig(), step.ModelConfig(**SIZES[size]), step.InputConfig()).eval()
    batch = step._batch(method)

    @torch.inference_mode()
    def embed() -> Any:
        return method.embed(batch.audio, batch.visual)

    return embed, embed


def _item(size: str, folder: Path, mode: str = "eval") -> WORK:
    from avbench.bench import loader

    write = getattr(loader, "write_clips", None) or loader._write  # what it was called before
    write(folder, loader._SYNC)
    clips = loader.PreparedClips.open(folder)
    data = loader.AudioVisualDataset(clips, loader.InputConfig() if mode == "eval" else loader._SYNC, mode=mode)
    turn = iter(range(10**9))
    return lambda: data[next(turn) % len(clips)], lambda: [(data[i].audio, data[i].visual) for i in range(len(clips))]


def _retrieval(size: str, folder: Path) -> WORK:
    from avbench.bench import retrieval

    audio, visual = retrieval.draw(1000, 1, 768)

    def ranks() -> Any:
        return [getattr(found, "values", found) for found in retrieval.ranks(audio, visual)]

    return ranks, ranks


PROBES: dict[str, Callable[[str, Path], WORK]] = {
    "step": _step,
    "features": _features,
    "item": _item,
    "clip": lambda size, folder: _item(size, folder, "all_frames"),
    "retrieval": _retrieval,
}


def serve(part: str, size: str, threads: int, folder: Path) -> None:
    """Sets a part up, prints a digest of what it computes, and for each line read how long it took once more.

    Args:
        part: A key of :data:`PROBES`.
        size: A key of :data:`SIZES`.
        threads: Of torch.
        folder: For files.
    """
    import numpy as np
    import torch

    import avbench

    torch.set_num_threads(threads)
    work, result = PROBES[part](size, folder)
    work()
    digest = hashlib.sha256()

    def add(value: Any) -> None:
        if isinstance(value, (list, tuple)):
            for each in value:
                add(each)
        else:
            digest.update(np.ascontiguousarray(value.detach().numpy() if hasattr(value, "detach") else value))

    add(result())
    print(Path(avbench.__file__).parent.parent, digest.hexdigest(), flush=True)
    for _ in sys.stdin:
        start = time.process_time()
        work()
        print(time.process_time() - start, flush=True)


def _spent() -> float:
    """Returns the processor seconds of all processes that this one started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Side:
    """One of the two checkouts.

    Args:
        root: Its folder.
        python: The interpreter, with what that commit needs.
        scratch: A folder of its own.
    """

    def __init__(self, root: Path, python: str, scratch: Path) -> None:
        self.root, self.python, self.results = root, python, scratch / "results"
        self.env = {**os.environ, "PYTHONPATH": str(root), "AVBENCH_CACHE": str(scratch / "cache")}

    @contextlib.contextmanager
    def probe(self, words: list[str]) -> Iterator[tuple[str, Callable[[], float]]]:
        """Starts a process that measures a part; yields the digest of its result, and what times it once more."""
        command = [self.python, __file__, "--probe", *words]
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, env=self.env, **pipes) as child:
            root, _, digest = child.stdout.readline().strip().rpartition(" ")  # type: ignore[union-attr]
            if Path(root) != self.root:
                raise SystemExit(f"{self.root}: found avbench of '{root}', valid: its own.")

            def once() -> float:
                child.stdin.write("\n")  # type: ignore[union-attr]
                child.stdin.flush()  # type: ignore[union-attr]
                return float(child.stdout.readline())  # type: ignore[union-attr]

            yield digest, once
            child.stdin.close()  # type: ignore[union-attr]

    def command(self, name: str) -> float:
        """Runs a command and returns the processor seconds that it took, those of its children included."""
        words = (*COMMANDS[name], *(("--results", str(self.results)) if name == "again" else ()))
        start = _spent()
        subprocess.run(
            [self.python, "-m", "avbench", *words], env=self.env, cwd=self.root, check=True, capture_output=True
        )
        return _spent() - start


def compare(name: str, this: Callable[[], float], that: Callable[[], float], repeats: int, same: str) -> list[Any]:
    """Times both in turn; returns a row of the table.

    Args:
        name: What is timed.
        this: Times this checkout once.
        that: Times the other.
        repeats: How often.
        same: Whether both computed the same.
    """
    pairs = []
    for turn in range(repeats):  # whoever is first is second the next time
        first, second = (this, that) if turn % 2 == 0 else (that, this)
        times = first(), second()
        pairs.append(times if turn % 2 == 0 else times[::-1])
    ratio = statistics.median(b / a for a, b in pairs)
    least = [1e3 * min(times) for times in zip(*pairs, strict=True)]
    return [name, *least, least[1] / least[0], ratio, same]


def measure(this: Side, that: Side, options: argparse.Namespace) -> Iterator[list[Any]]:
    """Yields the rows of the table."""
    for part in options.parts:
        words = [part, "--size", options.size, "--threads", str(options.threads)]
        if part == "start":
            for name in COMMANDS:
                for side in (this, that):
                    side.command(name)  # not counted: caches fill, and the run is recorded
                yield compare(
                    f"start: {name}",
                    lambda n=name: this.command(n),
                    lambda n=name: that.command(n),
                    options.repeats,
                    "",
                )
            continue
        with this.probe(words) as (own, once), that.probe(words) as (other, once_other):
            yield compare(part, once, once_other, options.repeats, "yes" if own == other else "no")


def main() -> None:
    """Checks the commit out, measures, prints the table and removes what it wrote."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("commit", help="what to compare with, such as HEAD~1")
    parser.add_argument("--parts", nargs="+", default=[*PROBES, "start"], choices=[*PROBES, "start"])
    parser.add_argument("--size", default="small", choices=list(SIZES), help="of the model of step and features")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--python", default=sys.executable, help="an interpreter with what that commit needs")
    parser.add_argument("--probe", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.probe:
        with tempfile.TemporaryDirectory() as name:
            serve(options.commit, options.size, options.threads, Path(name))
        return
    git = ["git", "-C", str(ROOT)]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what is checked out is removed then, too
    with tempfile.TemporaryDirectory() as name:
        other = Path(name) / "commit"
        add = [*git, "worktree", "add", "--quiet", "--detach", str(other), options.commit]
        if subprocess.run(add, check=False).returncode:
            raise SystemExit(f"{options.commit}: found no such commit in {ROOT}, valid: one that git knows.")
        try:
            this, that = Side(ROOT, sys.executable, Path(name) / "a"), Side(other, options.python, Path(name) / "b")
            rows = list(measure(this, that, options))
        finally:
            subprocess.run([*git, "worktree", "remove", "--force", str(other)], check=True)
    heads = ("what", "this ms", f"{options.commit[:10]} ms", "ratio of least", "median ratio", "same bits")
    print(tabulate(rows, headers=heads, floatfmt=".2f"))


if __name__ == "__main__":
    main()
