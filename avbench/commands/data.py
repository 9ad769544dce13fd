"""``avbench data``: make, prepare, verify and describe data."""

from __future__ import annotations

import dataclasses
import itertools
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from avbench.commands.data_prepare import Prepare
from avbench.errors import InputError

if TYPE_CHECKING:
    from avbench.data.likeness.flags import Seen


@dataclass(frozen=True, kw_only=True)
class List:
    """Lists what --data takes."""

    def execute(self) -> int:
        """Prints it."""
        from avbench.commands.list import Command

        return Command(what="data").execute()


@dataclass(frozen=True, kw_only=True)
class Make:
    """Writes the embedded set for inspection: videos, labels, masks and a preview picture."""

    name: tyro.conf.Positional[Literal["soundshapes", "soundshapes-2"]]
    """The set; in the second, pitch and height go one way, so that every moment of a clip comes once."""
    out: Path
    """The folder to write."""
    clips: int = 100
    """Clips in all: six tenths train, one tenth tune, the rest test."""
    seed: int = 0
    """Seed of the clips."""
    workers: int = -1
    """Processes; -1: one a core."""

    def execute(self) -> int:
        """Makes it and says where it is."""
        from avbench.data.locate import EMBEDDED
        from avbench.data.soundshapes import make

        if self.clips < 3:
            raise InputError(f"--clips: found {self.clips}, valid: at least 3, one for each split.")
        if self.seed < 0:
            raise InputError(f"--seed: found {self.seed}, valid: at least 0.")
        tune = max(1, self.clips // 10)
        train = max(1, self.clips * 6 // 10)
        test, version = self.clips - train - tune, EMBEDDED[self.name]
        make(self.out, train=train, tune=tune, test=test, seed=self.seed, version=version, workers=self.workers)
        sys.stdout.write(f"{self.out}: {self.clips} clips; look at {self.out / 'preview.png'}\n")
        return 0


@dataclass(frozen=True, kw_only=True)
class Show:
    """A data set of the catalogue: how to get it, where its files go, its lists, counts and traps."""

    name: tyro.conf.Positional[str]
    """Its name; see: avbench list data."""

    def execute(self) -> int:
        """Prints it."""
        from avbench.data.catalogue.entry import entry
        from avbench.data.catalogue.text import describe

        sys.stdout.write(describe(entry(self.name)) + "\n")
        return 0


@dataclass(frozen=True, kw_only=True)
class Verify:
    """Reads, hashes and decodes every clip of prepared folders; names stills, copies and videos in several splits."""

    folders: tyro.conf.Positional[tuple[Path, ...]]
    """The prepared folders; those of one set's parts together, so that one part is compared with the other."""
    workers: int = -1
    """Threads; -1: one a core."""
    format: Literal["text", "json"] = "text"
    """What goes to standard output: a line each, or lists of all clips."""

    def execute(self) -> int:
        """Prints one line a problem and flag; returns 1 when there is a problem."""
        from avbench.data.likeness.flags import find
        from avbench.data.prepare.verify import verify

        seen: list[Seen] = []
        problems = [verify(folder, workers=self.workers, seen=seen) for folder in self.folders]
        flags = find(seen)
        if self.format == "json":
            lists = {str(folder): lines for folder, lines in zip(self.folders, problems, strict=True)}
            sys.stdout.write(
                json.dumps({"problems": lists, "flags": [flag.to_dict() for flag in flags]}, indent=2) + "\n"
            )
            return 1 if any(problems) else 0
        for line in [*itertools.chain(*problems), *(flag.text for flag in flags)]:
            sys.stdout.write(f"{line}\n")
        for folder, lines in zip(self.folders, problems, strict=True):
            sys.stdout.write(f"{folder}: {len(lines)} problems\n")
        if flags:
            sys.stdout.write(f"{len(flags)} flags, {sum(flag.across for flag in flags)} of them across splits\n")
        return 1 if any(problems) else 0


@dataclass(frozen=True, kw_only=True)
class Stats:
    """Mean and standard deviation of the spectrogram, durations, label counts, and a plot."""

    source: tyro.conf.Positional[str]
    """soundshapes, a folder of videos, a prepared folder or a manifest.json."""
    labels: str = ""
    """Label CSV of an authors' manifest."""
    plot: Path | None = None
    """Where to write the plot (.png)."""
    set: tuple[str, ...] = ()
    """Settings of the sections data and input: input.frame_shift_ms=20."""
    format: Literal["text", "json"] = "text"
    """What goes to standard output: a page, or all figures."""

    def execute(self) -> int:
        """Prints the figures."""
        from avbench.data.locate import locate, open_source
        from avbench.data.stats import data_stats, plot_stats, stats_text
        from avbench.running.request import data_options

        if self.plot is not None and self.plot.suffix != ".png":
            raise InputError(f"--plot {self.plot}: valid: a name that ends in .png.")
        data, inputs = data_options(self.source, self.labels, self.set)
        clips = open_source(dataclasses.replace(locate(data, inputs), frames=None))  # of the sound alone
        figures = data_stats(clips, inputs)
        if self.plot is not None:
            plot_stats(figures, self.plot)
        sys.stdout.write((json.dumps(figures, indent=2) if self.format == "json" else stats_text(figures)) + "\n")
        return 0


@dataclass(frozen=True, kw_only=True)
class Spectrograms:
    """Stores the spectrograms of a prepared folder in it: clips are then read up to four times as fast."""

    folder: tyro.conf.Positional[Path]
    """The prepared folder."""
    set: tuple[str, ...] = ()
    """Settings of the section input: input.frame_shift_ms=20. Others than these are not read."""
    workers: int = -1
    """Processes; -1: one for every core but one."""

    def execute(self) -> int:
        """Writes them and says how large they are."""
        from avbench.data.feed.store_rows import store_rows
        from avbench.running.request import data_options

        path = store_rows(self.folder, data_options(str(self.folder), "", self.set)[1], workers=self.workers)
        sys.stdout.write(f"{path}: {path.stat().st_size / 1e9:.2f} GB\n")
        return 0


ACTIONS = {
    "list": List,
    "show": Show,
    "make": Make,
    "prepare": Prepare,
    "verify": Verify,
    "stats": Stats,
    "spectrograms": Spectrograms,
}
