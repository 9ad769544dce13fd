"""``avbench data prepare``: decodes videos once."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from avbench.data.media.prepare_settings import LIKE, PrepareSettings
from avbench.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from avbench.data.prepare.driver import ShareReport


@dataclass(frozen=True, kw_only=True)
class Prepare:
    """Decodes every video once into shards and a manifest; the same command resumes it."""

    source: tyro.conf.Positional[str]
    """A folder of videos (sub-folder = label), a CSV (file,label[,split][,id]), shards, tables, or a catalogue name."""
    out: Path | None = None
    """The folder to write; default for a catalogue set: the cache, where --data NAME finds it."""
    root: Path | None = None
    """For a catalogue set: the folder with the media and the official list."""
    list: tuple[Path, ...] = ()
    """For a catalogue set: official lists, or folders with them, if they are elsewhere."""
    dry_run: bool = False
    """For a catalogue set: match files to the list and count them; decode and write nothing."""
    like: Literal["avbench", "cavmae", "sync"] = "avbench"
    """cavmae, sync: as these authors' scripts do (frames, JPEG, sound); the options below change single settings."""
    settings: tyro.conf.OmitArgPrefixes[PrepareSettings] = field(default_factory=PrepareSettings)
    """How videos are decoded."""
    workers: int = -1
    """Processes; -1: one a core."""
    part: str | None = None
    """I/N: write only this share of the shards, such as 3/8; the command without it then finishes the folder."""
    launcher: Literal["local", "slurm"] = "local"
    """Where to work: here, or as an array of jobs of a cluster and one more that finishes the folder."""
    cluster: str = "default"
    """With --launcher slurm: the cluster profile, a name or a YAML file; see docs/cluster.md."""
    jobs: int = 8
    """With --launcher slurm: jobs that share the work."""
    results: Path = Path("results")
    """With --launcher slurm: where the jobs and their logs are noted, for avbench status."""

    @classmethod
    def parse(cls, program: str, arguments: Sequence[str]) -> Prepare:
        """Reads the options; those that ``--like`` stands for are the defaults of the others.

        Raises:
            InputError: They are not understood.
        """
        from avbench.commands.parse import parse

        words = [word.partition("=")[2] for word in arguments if word.startswith("--like=")]
        words += [value for option, value in itertools.pairwise(arguments) if option == "--like"]
        like = LIKE.get(words[-1], {}) if words else {}
        default = cls(source=tyro.MISSING, settings=PrepareSettings(**like))
        command: Prepare = parse(cls, program, arguments, default)
        return command

    def execute(self) -> int:
        """Prepares, and prints the counts and why clips were rejected."""
        from avbench.data.catalogue.entry import names
        from avbench.data.prepare.share import PartShare

        if self.part is not None:
            PartShare.parse(self.part)
        if self.launcher == "slurm":
            return self._submit()
        if self.source in names():
            return self._of_catalogue()
        if not Path(self.source).exists():
            raise InputError(
                f"{self.source}: no such file or folder, and no data set of the catalogue."
                f"{did_you_mean(self.source, names())} Valid: {', '.join(names())}, a folder of videos, shards (.tar)"
                " or tables (.parquet, .arrow) of videos, a CSV."
            )
        given = {"--root": self.root, "--list": self.list, "--dry-run": self.dry_run}
        wrong = next((option for option, value in given.items() if value), None)
        if wrong is not None:
            raise InputError(f"{wrong}: found with {self.source}, valid: with a data set ({', '.join(names())}).")
        if self.out is None:
            raise InputError(f"--out: found nothing, valid: the folder to write what {self.source} becomes.")
        return self._of_videos(Path(self.source), self.out)

    def _submit(self) -> int:
        """Submits an array that writes the shards, and a job that finishes the folder."""
        from avbench.commands.launching import open_profile, submit
        from avbench.data.locate import set_folder
        from avbench.launch.job import Job, is_full

        if self.part is not None or self.dry_run:
            raise InputError("--launcher slurm: found with --part or --dry-run, valid: without; it makes parts itself.")
        if self.jobs < 1:
            raise InputError(f"--jobs: found {self.jobs}, valid: at least 1.")
        if not Path(self.source).exists() and self.root is None:
            raise InputError(f"{self.source}: no such folder or CSV; with a data set of the catalogue, give --root.")
        out = self.out or (None if self.root is None else set_folder(self.source))
        if out is None:
            raise InputError(f"--out: found nothing, valid: the folder to write what {self.source} becomes.")
        made = str(out.resolve())
        if is_full(self.results, made):
            sys.stdout.write(f"{out}: was complete\n")
            return 0
        profile = open_profile(self.cluster)
        words, name = ("data", "prepare", *self._words(out)), out.name
        parts = [
            Job(f"{name} part {i}/{self.jobs}", "data part", (*words, "--part", f"{i}/{self.jobs}"))
            for i in range(1, self.jobs + 1)
        ]
        last = Job(f"{name} finish", "data", words, makes=(made,), needs=tuple(part.command for part in parts))
        return submit([*parts, last], profile, self.results)

    def _words(self, out: Path) -> Sequence[str]:
        """Returns the arguments that decide what is written, as a user would type them."""
        words = [self.source, "--out", str(out), "--workers", str(self.workers)]
        words += ["--root", str(self.root)] if self.root is not None else []
        words += ["--list", *map(str, self.list)] if self.list else []
        for option in fields(PrepareSettings):
            value = getattr(self.settings, option.name)
            if value != option.default:
                values = value if isinstance(value, tuple) else (value,)
                words += [f"--{option.name.replace('_', '-')}", *map(str, values)]
        return words

    def _of_videos(self, source: Path, out: Path) -> int:
        from avbench.data.prepare.driver import PartShare, prepare, prepare_share

        if self.part is not None:
            return self._say(
                prepare_share(source, out, PartShare.parse(self.part), self.settings, workers=self.workers)
            )
        report = prepare(source, out, self.settings, workers=self.workers)
        sys.stdout.write(
            f"{report.folder}: {report.clips} clips of {report.files} files, {report.seconds:.0f} s,"
            f" {report.silent} silent, {report.rejected} rejected{' (was complete)' if report.reused else ''}\n"
        )
        for reason, count in sorted(report.reasons.items(), key=lambda item: -item[1]):
            sys.stdout.write(f"  {count:>6}  {reason}\n")
        return 0 if report.clips else self._nothing(out)

    @staticmethod
    def _nothing(out: Path) -> int:
        sys.stderr.write(f"failed: none of the files could be used; {out / 'rejected.csv'} says why of each\n")
        return 1

    def _say(self, report: ShareReport) -> int:
        done = "was complete" if report.complete else f"{report.written} of its {report.parts} shards written"
        rest = "" if report.complete else "; the same command without --part finishes the folder"
        sys.stdout.write(f"{report.folder}: part {self.part}: {done}{rest}\n")
        return 0

    def _of_catalogue(self) -> int:
        from avbench.data.catalogue.entry import entry
        from avbench.data.catalogue.prepare import prepare_set, prepare_set_share
        from avbench.data.catalogue.text import render
        from avbench.data.locate import set_folder
        from avbench.data.prepare.share import PartShare

        found = entry(self.source)
        if found.lists and self.root is None:
            raise InputError(
                f"--root: found nothing, valid: the folder with the files of {found.title}; 'avbench data show"
                f" {found.name}' says how to get them, and ./{found.name} means a folder of that name."
            )
        root, out = self.root or Path(), self.out or set_folder(found.name)
        if self.part is not None:
            if self.dry_run:
                raise InputError("--dry-run: found with --part, valid: one of them; nothing of a part is counted.")
            share = PartShare.parse(self.part)
            return self._say(
                prepare_set_share(found, root, out, share, self.settings, lists=self.list, workers=self.workers)
            )
        account = prepare_set(
            found,
            root,
            out,
            self.settings,
            lists=self.list,
            dry_run=self.dry_run,
            workers=self.workers,
        )
        sys.stdout.write(render(account) + "\n")
        if self.dry_run or any(count.usable for count in account.counts):
            return 0
        return self._nothing(out)
