"""``avbench data``: make, prepare, verify and describe data."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro

from avbench.data.prepare_settings import PrepareSettings
from avbench.errors import InputError, did_you_mean


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

    name: tyro.conf.Positional[Literal["soundshapes"]]
    """The set."""
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
        from avbench.data.soundshapes import make

        if self.clips < 3:
            raise InputError(f"--clips: found {self.clips}, valid: at least 3, one for each split.")
        if self.seed < 0:
            raise InputError(f"--seed: found {self.seed}, valid: at least 0.")
        tune = max(1, self.clips // 10)
        train = max(1, self.clips * 6 // 10)
        make(self.out, train=train, tune=tune, test=self.clips - train - tune, seed=self.seed, workers=self.workers)
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
class Prepare:
    """Decodes every video once into shards and a manifest; goes on where it was stopped."""

    source: tyro.conf.Positional[str]
    """A folder of videos (sub-folder = label), a CSV (file,label[,split][,id]), or with --root a catalogue name."""
    out: Path | None = None
    """The folder to write; of the catalogue: the cache, so that --data NAME finds it."""
    root: Path | None = None
    """Of the catalogue: the folder with the media, and with the official list."""
    list: tuple[Path, ...] = ()
    """Of the catalogue: official lists, or folders with them, that are elsewhere."""
    dry_run: bool = False
    """Of the catalogue: join and count, decode and write nothing."""
    settings: tyro.conf.OmitArgPrefixes[PrepareSettings] = field(default_factory=PrepareSettings)
    """How."""
    workers: int = -1
    """Processes; -1: one a core."""

    def execute(self) -> int:
        """Prepares, and prints the counts and why clips were rejected."""
        from avbench.data.catalogue.entry import names

        if self.source in names():
            return self._of_catalogue()
        if not Path(self.source).exists():
            raise InputError(
                f"{self.source}: no such folder or CSV, and no data set of the catalogue."
                f"{did_you_mean(self.source, names())} Valid: {', '.join(names())}, a folder of videos, a CSV."
            )
        given = {"--root": self.root, "--list": self.list, "--dry-run": self.dry_run}
        wrong = next((option for option, value in given.items() if value), None)
        if wrong is not None:
            raise InputError(f"{wrong}: found with {self.source}, valid: with a data set ({', '.join(names())}).")
        if self.out is None:
            raise InputError(f"--out: found nothing, valid: the folder to write what {self.source} becomes.")
        return self._of_videos(Path(self.source), self.out)

    def _of_videos(self, source: Path, out: Path) -> int:
        from avbench.data.prepare import prepare

        report = prepare(source, out, self.settings, workers=self.workers)
        sys.stdout.write(
            f"{report.folder}: {report.clips} clips of {report.files} files, {report.seconds:.0f} s,"
            f" {report.silent} silent, {report.rejected} rejected{' (was complete)' if report.reused else ''}\n"
        )
        for reason, count in sorted(report.reasons.items(), key=lambda item: -item[1]):
            sys.stdout.write(f"  {count:>6}  {reason}\n")
        return 0

    def _of_catalogue(self) -> int:
        from avbench.data.catalogue.entry import entry
        from avbench.data.catalogue.prepare import prepare_set
        from avbench.data.catalogue.text import render
        from avbench.data.locate import set_folder

        found = entry(self.source)
        if found.lists and self.root is None:
            raise InputError(
                f"--root: found nothing, valid: the folder with the files of {found.title}; 'avbench data show"
                f" {found.name}' says how to get them, and ./{found.name} means a folder of that name."
            )
        account = prepare_set(
            found,
            self.root or Path(),
            self.out or set_folder(found.name),
            self.settings,
            lists=self.list,
            dry_run=self.dry_run,
            workers=self.workers,
        )
        sys.stdout.write(render(account) + "\n")
        return 0


@dataclass(frozen=True, kw_only=True)
class Verify:
    """Reads, hashes and decodes every clip of a prepared folder."""

    folder: tyro.conf.Positional[Path]
    """The prepared folder."""
    workers: int = -1
    """Threads; -1: one a core."""

    def execute(self) -> int:
        """Prints one line a problem; returns 1 when there is one."""
        from avbench.data.verify import verify

        problems = verify(self.folder, workers=self.workers)
        for problem in problems:
            sys.stdout.write(f"{problem}\n")
        sys.stdout.write(f"{self.folder}: {len(problems)} problems\n")
        return 1 if problems else 0


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

    def execute(self) -> int:
        """Prints the figures as JSON."""
        from avbench.data.locate import locate, open_source
        from avbench.data.stats import data_stats, plot_stats
        from avbench.resolve import data_options

        if self.plot is not None and self.plot.suffix != ".png":
            raise InputError(f"--plot {self.plot}: valid: a name that ends in .png.")
        data, inputs = data_options(self.source, self.labels, self.set)
        clips = open_source(locate(data, inputs))
        figures = data_stats(clips, inputs)
        if self.plot is not None:
            plot_stats(figures, self.plot)
        sys.stdout.write(json.dumps(figures, indent=2) + "\n")
        return 0


ACTIONS = {"list": List, "show": Show, "make": Make, "prepare": Prepare, "verify": Verify, "stats": Stats}
