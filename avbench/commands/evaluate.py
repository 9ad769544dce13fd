"""``avbench evaluate``: the second half of ``run``, from a checkpoint or from anyone's features or heat maps."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from avbench.commands.launching import LauncherOptions
from avbench.errors import InputError
from avbench.running.options import ConfigOptions

if TYPE_CHECKING:
    from avbench.running.given import Judged
    from avbench.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Command(LauncherOptions, ConfigOptions):
    """Evaluates a checkpoint on data, a file of features or heat maps on its own, or the scores of a run."""

    task: str = "retrieval"
    """The task; see: avbench list tasks."""
    method: str | None = None
    """The method the checkpoint belongs to; not needed with --features or --heatmaps."""
    features: Path | None = None
    """An .npz with id, audio and visual, from any model."""
    heatmaps: Path | None = None
    """An .npz with id and map, from any model; for localization."""
    labels: Path | None = None
    """A CSV id,label[,split] of the clips in --features: for linear_probe, knn, class_retrieval, and, of arrays called
    scores, classification."""
    run: str | None = None
    """A recorded run, by its id or first digits, whose class scores are judged; for vggsounder."""
    annotations: Path | None = None
    """What heat maps, or the scores of --run or --features, are judged by."""
    name: str | None = None
    """What the row of --features or --heatmaps is called in tables; by default the file's name. --data names the data
    that their clips are of."""
    format: Literal["table", "json"] = "table"
    """What goes to standard output."""
    processes: int = 1
    """Processes that extract features in parallel, on GPUs one each; the numbers do not depend on it. On several GPUs
    they also share each step of a fine-tuning, with other last bits."""

    def execute(self) -> int:
        """Evaluates and prints the result."""
        run = None if self.run is None else f"run {self.run}"
        for path, others in (
            (run, ("features", "heatmaps", "labels", "name", "data")),
            (self.features, ("heatmaps",)),
            (self.heatmaps, ("features", "labels")),
        ):
            if path is not None:
                self._refuse(*others, "eval_data", "checkpoint", "method", beside=path)
                given = {"--processes": self.processes != 1, "--launcher": self.on_cluster, "--dry-run": self.dry_run}
                unused = next((option for option, value in given.items() if value), None)
                if unused is not None:
                    raise InputError(f"{unused}: not used where {path} is evaluated; leave one of them out.")
        if self.run is not None:
            return self._of_run(self.run)
        if self.features is not None:
            return self._of_features(self.features)
        if self.heatmaps is not None:
            return self._of_heatmaps(self.heatmaps)
        if self.labels is not None:
            raise InputError("--labels: not used with a checkpoint, whose data have labels; leave it out.")
        if self.name is not None:
            raise InputError("--name: not used with a checkpoint, whose row has the method's name; leave it out.")
        return self._from_checkpoint()

    def _refuse(self, *names: str, beside: Path | str) -> None:
        refused = [name for name in names if getattr(self, name) is not None]
        if refused:
            raise InputError(
                f"--{refused[0].replace('_', '-')}: not used where {beside} is evaluated; leave one of them out."
            )

    def _options(self) -> Settings:
        from avbench.running.request import task_options

        return task_options(self.task, self.config, tuple(text for group in self.set for text in group))

    def _of_features(self, path: Path) -> int:
        from avbench import registry
        from avbench.running.given_labels import judge_labelled, takes_labels
        from avbench.tasks.given_features import judge_features

        options = self._options()
        entry = registry.find("task", self.task)
        if registry.of_records(entry):
            self._refuse("labels", beside=path)
            task, annotations = entry.load().TASK, self._annotations("the scores")
            return self._judge(
                path, "scores", options, lambda: (task.evaluate_stored(path, annotations, options), None)
            )
        self._refuse("annotations", beside=path)
        labels = self.labels
        if labels is not None:
            return self._judge(path, "features", options, lambda: judge_labelled(path, labels, self.task, options))
        if takes_labels(entry) and "features" not in entry.card["needs"]:
            raise InputError(
                f"--labels: found nothing, valid: a CSV with the columns id,label[,split], for task '{self.task}'."
            )
        return self._judge(path, "features", options, lambda: judge_features(path, entry.load().TASK, options))

    def _of_run(self, name: str) -> int:
        from avbench import registry
        from avbench.compare.run import find
        from avbench.running.rejudged import rejudge

        if not registry.of_records(registry.find("task", self.task)):
            tasks = ", ".join(task for task, entry in registry.entries("task").items() if registry.of_records(entry))
            raise InputError(f"--run: not used by task '{self.task}', valid: {tasks}.")
        options, annotations = self._options(), self._annotations("the scores")
        record = find(self.results, name).record
        return self._show(*rejudge(record, self.results, self.task, options, annotations, force=self.force))

    def _annotations(self, judged: str) -> Path:
        if self.annotations is None:
            raise InputError(f"--annotations: found nothing, valid: the file or folder that {judged} are judged by.")
        return self.annotations

    def _of_heatmaps(self, path: Path) -> int:
        from avbench import registry

        task = registry.find("task", self.task).load().TASK
        if not hasattr(task, "evaluate_heatmaps"):
            raise InputError(f"--heatmaps: not used by task '{self.task}', valid: localization.")
        annotations = self._annotations("the heat maps")
        options = self._options()
        return self._judge(
            path, "heatmaps", options, lambda: (task.evaluate_heatmaps(path, annotations, options), None)
        )

    def _judge(self, path: Path, kind: str, options: Settings, evaluate: Callable[[], Judged]) -> int:
        """Judges a file, records it and prints what was found."""
        from avbench.running.given import Given, data_name, judge

        given = Given(
            name=self.name,
            path=path,
            kind=kind,
            task=self.task,
            options=options,
            data=data_name(self.data) if self.data is not None else "",
            annotations=self.annotations,
            labels=self.labels,
        )
        return self._show(*judge(given, self.results, evaluate, force=self.force))

    def _show(self, record: dict[str, Any], where: Path) -> int:
        """Prints what a record says."""
        from avbench import registry
        from avbench.compare.terminal import render_evaluation

        shown = {key: record[key] for key in ("task", "n", "ids_sha256", "metrics", "chance", "ci95", "config")}
        if self.format == "json":
            used = {**record["config"]["task"], "version": registry.find("task", self.task).load().TASK.version}
            shown["config"] = {**record["config"], "task": used}
            sys.stdout.write(json.dumps(shown, indent=2) + "\n")
            sys.stderr.write(f"record: {where}\n")  # standard output is the result alone
        else:
            sys.stdout.write(f"{render_evaluation(shown, record['method'])}\n\nrecord: {where}\n")
        return 0

    def _from_checkpoint(self) -> int:
        from avbench.commands.run import Command as Run

        if self.checkpoint is None:
            raise InputError("evaluate: found none of --checkpoint, --features and --heatmaps; give one of them.")
        if self.method is None and not self.recipe:
            raise InputError("--method: found nothing, valid: the method the checkpoint belongs to, or --recipe NAME.")
        shared: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(ConfigOptions)}
        shared |= {field.name: getattr(self, field.name) for field in fields(LauncherOptions)}
        shared |= {"format": self.format, "processes": self.processes}
        return Run(method=(self.method,) if self.method else (), task=(self.task,), **shared).execute()
