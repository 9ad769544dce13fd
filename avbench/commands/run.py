"""``avbench run``: pretrain if needed, evaluate, print the table, say where the records are."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from avbench.commands.launching import LauncherOptions, launch
from avbench.errors import InputError
from avbench.running.options import ConfigOptions, encoder_named

if TYPE_CHECKING:
    from avbench.running.folds import Pooled


@dataclass(frozen=True, kw_only=True)
class Command(LauncherOptions, ConfigOptions):
    """Pretrains where needed, evaluates, prints the table and where the records are."""

    method: tuple[str, ...] = ()
    """One or more methods, or none with --recipe, which names its own; see: avbench list methods."""
    encoder: tuple[str, ...] = ()
    """In place of methods, anybody's encoders, of which nothing is trained: FILE.py:Class, PACKAGE.MODULE:Class, or a
    name; see: avbench list encoders."""
    task: tuple[str, ...] = ("retrieval",)
    """One or more tasks; see: avbench list tasks."""
    seeds: tuple[int, ...] = (0,)
    """One run for each."""
    format: Literal["table", "json"] = "table"
    """What goes to standard output; json: the records, or with --dry-run settings, stages and clips per contrast."""
    processes: int = 1
    """Processes that extract features in parallel, on GPUs one each; the numbers do not depend on it. On several GPUs
    they also share each step of a fine-tuning, with other last bits."""

    folds: bool = False
    """Run all published folds of the data (esc50, ucf101), and judge them together, each clip once."""

    skip_untrained: bool = False
    """Leave out the untrained model, which is otherwise evaluated as well."""

    report: bool = False
    """Also write the page of the results folder, as avbench report does."""

    def execute(self) -> int:
        """Runs everything; returns 1 when a run failed, after the others went on."""
        from avbench.running import folds
        from avbench.running.possible import possible
        from avbench.running.runner import Execution, Runner
        from avbench.training.device import resolve_device

        if self.on_cluster:
            for option, given in (("--skip-untrained", self.skip_untrained), ("--report", self.report)):
                if given:
                    raise InputError(f"{option}: valid with --launcher local.")
            return self._submit()
        requests = self.requests(self._judged, self.task, self.seeds)
        device = resolve_device(self.device)
        execution = Execution(results=self.results, device=device, force=self.force, processes=self.processes)
        runner = Runner(execution)
        requests = folds.in_all_folds(requests, runner) if self.folds else requests
        configs = runner.resolve_all(requests, planning=self.dry_run)
        possible(runner, configs, planning=self.dry_run)
        if self.dry_run:
            from avbench.commands import outline

            sys.stdout.write(outline.show(runner, configs, self.format))
            return 0
        beside = not self.skip_untrained
        outcomes = [outcome for config in configs for outcome in runner.run(config, with_untrained=beside)]
        records = [outcome.record for outcome in outcomes if outcome.record is not None]
        failed = [outcome for outcome in outcomes if outcome.error]
        together = self._print(records, whole=not failed)
        if self.format == "table":
            _print_paths([(str(o.path), o.reused) for o in outcomes if o.path is not None])
            _print_paths([(str(path), reused) for _, path, reused in together])
        if self.report and records:
            from avbench.report.page.build import write

            page = self.results / "report.html"
            write(self.results, page)
            sys.stdout.write(f"report: {page}\n" if self.format == "table" else "")
        for outcome in failed:
            config = outcome.config
            sys.stderr.write(
                f"failed: {config.method_name} {config.task_name} seed {config.seed} ({config.weights}):"
                f" {outcome.error}\n"
            )
        return 1 if failed else 0

    def _print(self, records: list[dict[str, Any]], *, whole: bool = True) -> list[Pooled]:
        """Prints records, those of all folds in place of each fold's; returns them, none where not all is ``whole``."""
        from avbench.running import folds

        together = folds.pooled(records, self.results, force=self.force) if self.folds and whole else []
        joined = {run for record, *_ in together for run in record["folds"]["runs"] if self.format == "table"}
        shown = [*(record for record, *_ in together), *(each for each in records if each["id"] not in joined)]
        print_records(shown, self.format, self.results)
        if self.format == "table":
            sys.stdout.writelines(f"{line}\n" for record, *_ in together for line in folds.lines(record))
        return together

    @property
    def _judged(self) -> tuple[str, ...]:
        """Methods and encoders.

        Raises:
            InputError: An encoder is a method, or is not there.
        """
        return (*self.method, *map(encoder_named, self.encoder))

    def _submit(self) -> int:
        from avbench.commands import outline

        own = [] if self.processes == 1 else ["--processes", str(self.processes)]
        asked = [(self._judged, self.task, self.seeds)]
        runner, configs, status = launch(self, self, asked, own, in_folds=self.folds)
        if status is not None:
            return status
        if self.dry_run:
            sys.stdout.write(outline.show(runner, configs, self.format))
        else:
            self._print([record for config in configs for record in runner.recorded(config)])
        return 0


def print_records(records: list[dict[str, Any]], form: str, results: Path) -> None:
    """Prints records as JSON, or as one table for each task, data set and split.

    Args:
        records: The records.
        form: ``json`` or a table.
        results: Where they are.
    """
    if form == "json":
        sys.stdout.write(json.dumps(records, indent=2) + "\n")
    else:
        _print_tables(records, results)


def _print_tables(records: list[dict[str, Any]], results: Path) -> None:
    from avbench.compare.terminal import render
    from avbench.running.division import account

    def table(record: dict[str, Any]) -> tuple[str, str, str]:
        return record["task"], record["data"], record["split"]

    for _, group in groupby(sorted(records, key=table), key=table):
        rows = list(group)
        sys.stdout.write(f"\n{render(rows, results)}\n\n")
        for line in dict.fromkeys(account(row["selection"]) for row in rows if "selection" in row):
            sys.stdout.write(f"{line}\n\n" if line else "")


def _print_paths(paths: list[tuple[str, bool]]) -> None:
    for path, reused in paths:
        sys.stdout.write(f"record: {path}{' (reused, nothing computed)' if reused else ''}\n")
