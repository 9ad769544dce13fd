"""One run from configuration to record: resolve, reuse or compute each stage, write."""

from __future__ import annotations

import dataclasses
import datetime
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avbench.data.locate import Source
from avbench.data.sources import Sources
from avbench.errors import AvbenchError, InputError
from avbench.processes import code_sha256, locked
from avbench.running.exposure import told
from avbench.running.plan import Plan, Stage, make_plan, plan_pretraining
from avbench.running.request import Request, RunConfig, fitted, resolve
from avbench.store import provenance
from avbench.store.records import SCHEMA, run_folder, stage_folder, usable_record, write_record

if TYPE_CHECKING:
    from avbench.data.corpus.clips import Clips
    from avbench.data.corpus.pair import Corpus
    from avbench.training.group import ProcessGroup

log = logging.getLogger("avbench")
_LIKE = {"cavmae": "cavmae", "cavmae_sync": "sync"}  # methods with published weights, and how their clips were prepared


def _alone() -> ProcessGroup:
    from avbench.training.group import ProcessGroup

    return ProcessGroup.alone()


@dataclass(frozen=True, kw_only=True)
class Execution:
    """How and where to work: nothing here can change a number."""

    results: Path = Path("results")
    device: str = "cpu"
    force: bool = False
    progress: bool = True
    processes: int = 1
    group: ProcessGroup = field(default_factory=lambda: _alone())
    _computed: set[str] = field(default_factory=set, compare=False, repr=False)

    def __post_init__(self) -> None:
        """Checks what users give.

        Raises:
            InputError: Fewer than one process.
        """
        if self.processes < 1:
            raise InputError(f"--processes: found {self.processes}, valid: at least 1.")

    def forces(self, stage: Stage) -> bool:
        """Returns whether a stage is to be computed though it is done: once each, where ``force`` asks for it."""
        return self.force and stage.id not in self._computed

    def computed(self, stage: Stage) -> None:
        """Notes that a stage was computed by this process."""
        self._computed.add(stage.id)


@dataclass(frozen=True)
class Outcome:
    """What became of one run: its record, or the error that stopped it."""

    config: RunConfig
    record: dict[str, Any] | None
    path: Path | None
    reused: bool = False
    error: str = ""


class Runner:
    """Runs requests one after the other, opening each data source once."""

    def __init__(self, execution: Execution) -> None:
        self.execution = execution
        code_sha256()  # of the code that will compute, before anybody edits it
        provenance.git_state()
        self._sources = Sources(progress=execution.progress)
        self._resolved: dict[Request, RunConfig] = {}
        self._models: set[tuple[Any, ...]] = set()  # those that were checked
        self._said: set[str] = set()  # warnings, each once
        self._compared: set[tuple[Source, Path | None]] = set()  # clips and published weights

    def resolve_all(self, requests: Sequence[Request], *, planning: bool = False) -> list[RunConfig]:
        """Resolves every request, finds its data and checks its weights before any work begins.

        Args:
            requests: What the user asked for.
            planning: Nothing will be done: initial weights that are known by name need not be here.

        Raises:
            InputError: A request cannot be used.
        """
        from avbench import registry
        from avbench.running import stages

        configs = []
        for request in requests:
            key = dataclasses.replace(request, seed=0)  # grids have thousands of requests that differ in nothing else
            if key not in self._resolved:
                config = resolve(key)
                self.sources(config)
                model = (config.method_name, config.method, config.model, config.input, config.train, config.checkpoint)
                if model not in self._models:
                    stages.check(config, planning=planning)
                    self._models.add(model)
                if config.task_name:
                    registry.find("task", config.task_name).load().TASK.check(config)
                self._resolved[key] = config
            configs.append(dataclasses.replace(self._resolved[key], seed=request.seed))
        return configs

    def sources(self, config: RunConfig) -> tuple[Source, Source]:
        """Returns where the clips to train on and those to judge are; the same twice but with ``data.eval_source``."""
        return self._sources.locate(config.data, config.input)

    def corpus(self, config: RunConfig) -> Corpus:
        """Returns the clips of a run, to train on and to judge, preparing them if needed."""
        corpus = self._sources.open(config.data, config.input, workers=config.train.workers)
        for source, clips in zip(self.sources(config), (corpus.train, corpus.judged), strict=True):
            self._compare_preparation(source, clips, config)
        return corpus

    def _compare_preparation(self, source: Source, clips: Clips, config: RunConfig) -> None:
        """Warns, once, where published weights see clips that were prepared otherwise than their authors' were."""
        from avbench.data.media.prepare_settings import unlike
        from avbench.training.weights_file import read_checkpoint

        like = _LIKE.get(config.method_name)
        settings = getattr(clips, "prepared", None)
        key = (source, config.checkpoint)
        if like is None or settings is None or config.checkpoint is None or key in self._compared:
            return
        self._compared.add(key)
        differences = unlike(settings, like)
        if differences and not read_checkpoint(config.checkpoint).metadata:
            fix = f"avbench data prepare --like {like}" if source.videos is None else f"--set data.like={like}"
            log.warning(
                "%s: prepared otherwise than the clips of the authors of %s: %s; %s prepares as they did",
                source.clips,
                config.checkpoint.name,
                ", ".join(differences),
                fix,
            )

    def prepare(self, configs: Sequence[RunConfig]) -> None:
        """Prepares the data of every configuration, so that runs in parallel do not."""
        for config in configs:
            self.corpus(config)

    def plans(self, config: RunConfig, *, with_untrained: bool = True) -> list[Plan]:
        """Returns the plan of a configuration, and before it that of the model as it was before training.

        Raises:
            InputError: The configuration cannot be used.
        """
        corpus = self.corpus(config)
        configs = [config]
        if with_untrained and config.weights == "pretrained":
            configs.insert(0, dataclasses.replace(config, weights="untrained"))
        return [make_plan(each, corpus, self.execution.results) for each in configs]

    def recorded(self, config: RunConfig) -> list[dict[str, Any]]:
        """Returns the records there are of a configuration and of its untrained model; computes nothing."""
        found = (usable_record(self.execution.results, plan.evaluation.id) for plan in self.plans(config))
        return [record for record in found if record is not None]

    def is_done(self, config: RunConfig) -> bool:
        """Returns whether a configuration and its untrained model are recorded."""
        return len(self.recorded(config)) == len(self.plans(config))

    def run(self, config: RunConfig, *, with_untrained: bool = True) -> list[Outcome]:
        """Runs one configuration, and beside it the model as it was before training.

        Errors of the work itself are caught and returned, so that other runs go on.

        Raises:
            InputError: The configuration cannot be used; nothing was computed.
        """
        judged = self.sources(config)[1]
        plans = self.plans(config, with_untrained=with_untrained)
        self.warn(plans)
        return [self._outcome(plan, judged) for plan in plans]

    def warn(self, plans: Sequence[Plan]) -> None:
        """Mentions judged clips that the weights were trained on, each once."""
        for text in dict.fromkeys(each.text() for plan in plans for each in plan.exposures if each.shared):
            if text not in self._said:
                log.warning("%s", text)
                self._said.add(text)

    def _outcome(self, plan: Plan, source: Source) -> Outcome:
        results, run_id = self.execution.results, plan.evaluation.id
        reused = self._reused(plan)
        if reused is not None:
            return reused
        try:
            # As with a stage: of several processes that are asked for it, one computes it and the others read it.
            folder = stage_folder(results, plan.config.task_name, run_id)
            with locked(folder, lambda: log.info("run %s is being computed by another process; waiting", run_id)):
                reused = self._reused(plan)
                if reused is not None:
                    return reused
                record, path = self._compute(plan, source)
        except AvbenchError as error:
            log.debug("run %s failed", run_id, exc_info=True)
            return Outcome(plan.config, None, None, error=str(error))
        return Outcome(plan.config, record, path)

    def _reused(self, plan: Plan) -> Outcome | None:
        """Returns what is recorded of a run, unless it is to be computed anyway."""
        results, run_id = self.execution.results, plan.evaluation.id
        record = None if self.execution.force else usable_record(results, run_id)
        if record is None:
            return None
        if record.get("code_sha256") != code_sha256():
            log.info("run %s is stale: it was made by other code of avbench; --force computes it again", run_id)
        return Outcome(plan.config, record, run_folder(results, run_id) / "record.json", reused=True)

    def _compute(self, plan: Plan, source: Source) -> tuple[dict[str, Any], Path]:
        from avbench import registry
        from avbench.running import stages
        from avbench.running.workbench import Workbench

        execution, config = self.execution, plan.config
        bench = Workbench(plan, execution)
        if execution.forces(plan.evaluation):
            stages.clear(bench.folder)  # what the task keeps to go on from, such as fine-tuned weights
        start = time.monotonic()
        result = registry.find("task", config.task_name).load().TASK.run(bench, config.task)
        # A stage that several runs share counts in each record: what the number costs where nothing is there yet.
        wall = {"evaluate": time.monotonic() - start - bench.inside_s}
        for stage, seconds in bench.used.items():
            wall[stage.name] = wall.get(stage.name, 0.0) + seconds
        record = {
            "schema": SCHEMA,
            "id": plan.evaluation.id,
            "method": config.method_name,
            "task": config.task_name,
            "weights": config.weights,
            "data": source.name,
            "data_sha256": plan.evaluated.sha256,
            "split": plan.division.split,
            "selection": plan.division.selection(),
            "trained_on": told(plan.exposures),
            "seed": config.seed,
            "precision": config.precision,
            "config": config.to_dict(),
            "stages": {name: [s.id for s in bench.used if s.name == name] for name in wall if name != "evaluate"},
            "n": result.n,
            "ids_sha256": result.ids_sha256,
            "metrics": result.metrics,
            "chance": result.chance,
            "ci95": {name: list(interval) for name, interval in result.ci95.items()},
            "wall_s": {name: round(seconds, 3) for name, seconds in wall.items()},
            "device_hours": round((sum(wall.values()) + _beside(bench.used)) / 3600, 6),
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "git": provenance.git_state(),
            "code_sha256": code_sha256(),
            "plug_ins": {
                **registry.find("method", config.method_name).sources,
                **registry.find("task", config.task_name).sources,
            },
            "versions": provenance.versions(),
            "hardware": provenance.hardware(execution.device),
        }
        path = write_record(execution.results, record, result.per_sample)
        execution.computed(plan.evaluation)
        return record, path

    def pretrain(self, config: RunConfig) -> Path:
        """Runs the first half alone and returns the weights file.

        Raises:
            InputError: The configuration cannot be used.
            RunError: Training failed.
        """
        from avbench.running import stages

        stage, train, tune = plan_pretraining(config, self.corpus(config), self.execution.results)
        return stages.pretrain(fitted(config, len(train)), stage, train, tune, self.execution)

    def plan_pretraining(self, config: RunConfig) -> tuple[Stage, Clips]:
        """Returns the stage that :meth:`pretrain` computes, and the clips it trains on."""
        return plan_pretraining(config, self.corpus(config), self.execution.results)[:2]

    def write_features(self, config: RunConfig, out: Path) -> int:
        """Writes the embeddings of a checkpoint to a file of the user's; returns the number of clips.

        All clips are embedded, in the manifest's order, unless ``data.split`` names a split.
        """
        from avbench.running.workbench import Workbench
        from avbench.store.features import write_features

        if config.data.split == "auto":
            config = dataclasses.replace(config, data=dataclasses.replace(config.data, split="all"))
        plan = make_plan(config, self.corpus(config), self.execution.results)
        self.warn([plan])
        features = Workbench(plan, self.execution).embeddings()
        write_features(out, features)
        return len(features.ids)


def _beside(used: Mapping[Stage, float]) -> float:
    """Returns the seconds of further processes beside the one whose wall time is counted."""
    from avbench.running import stages

    counts = {stage: int(stages.read_done(stage).get("processes", 1)) for stage in used if stage.done}
    return sum(used[stage] * (count - 1) for stage, count in counts.items())
