"""Runs from configuration to record: the stages are made ready one after the other, then the task reads them."""

from __future__ import annotations

import dataclasses
import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avbench import registry
from avbench.config import RunConfig
from avbench.data.locate import Source
from avbench.data.sources import Sources
from avbench.errors import AvbenchError
from avbench.processes import code_sha256, locked, sweep
from avbench.running import encoded, stages, weights
from avbench.running.execution import Execution
from avbench.running.plan import Plan, make_plan, plan_pretraining, reads_joint
from avbench.running.record import make_record
from avbench.running.request import Request, resolve
from avbench.running.subject import ReadySubject
from avbench.store import provenance
from avbench.store.records import run_folder, stage_folder, usable_record, write_record
from avbench.training import sinks

if TYPE_CHECKING:
    from avbench.data.corpus.clips import Clips
    from avbench.data.corpus.pair import Corpus
    from avbench.running.identity import Stage

__all__ = ["Execution", "Outcome", "Runner", "why"]
log = logging.getLogger("avbench")
_LIKE = {"cavmae": "cavmae", "cavmae_sync": "sync"}  # methods with published weights, and how their clips were prepared


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
        self._joint: set[str] = set()  # methods of which a task reads the joint stream
        self._models: set[tuple[Any, ...]] = set()  # those that were checked
        self._said: set[str] = set()  # warnings, each once
        self._compared: set[tuple[Source, Path | None]] = set()  # clips and published weights

    def resolve_all(
        self, requests: Sequence[Request], *, planning: bool = False, lenient: bool = False
    ) -> list[RunConfig]:
        """Resolves every request, finds its data and checks its weights before any work begins.

        Args:
            requests: What the user asked for.
            planning: Nothing will be done: initial weights that are known by name need not be here.
            lenient: Leave what a task refuses to :mod:`avbench.running.possible`.

        Raises:
            InputError: A request cannot be used.
        """
        configs = []
        for request in requests:
            key = dataclasses.replace(request, seed=0)  # grids have thousands of requests that differ in nothing else
            if key not in self._resolved:
                config = resolve(key)
                sinks.check(config.train)
                self.sources(config)
                if config.task_name and not lenient:
                    registry.find("task", config.task_name).load().TASK.check(config)
                self._resolved[key] = config
            configs.append(dataclasses.replace(self._resolved[key], seed=request.seed))
        for config in configs:
            if config.method_name not in self._joint and config.task_name and reads_joint(config):
                self._joint.add(config.method_name)
        for config in configs:
            model = (config.method_name, config.method, config.model, config.input, config.train, config.checkpoint)
            if model not in self._models:
                if planning or not self._is_recorded(config):
                    weights.check(config, planning=planning)
                self._models.add(model)
        return configs

    def _is_recorded(self, config: RunConfig) -> bool:
        """Returns whether a run is recorded, whose model then was checked: asked before torch is imported."""
        if self.execution.force or not config.task_name or not all(each.ready for each in self.sources(config)):
            return False
        try:
            plan = make_plan(config, self.corpus(config), self.execution.results, with_variants=False)
        except AvbenchError:  # which is told where the plan is asked for, after what may be wrong with the model
            return False
        return usable_record(self.execution.results, plan.evaluation.id) is not None

    def sources(self, config: RunConfig) -> tuple[Source, Source]:
        """Returns where the clips to train on and those to judge are; the same twice but with ``data.eval_source``."""
        return self._sources.locate(config.data, config.input, encoded.wants(config))

    def corpus(self, config: RunConfig) -> Corpus:
        """Returns the clips of a run, to train on and to judge, preparing them if needed."""
        sources = self.sources(config)
        corpus = self._sources.open(sources, paired=bool(config.data.eval_source), workers=config.train.workers)
        for source, clips in zip(sources, (corpus.train, corpus.judged), strict=True):
            self._compare_preparation(source, clips, config)
        return corpus

    def _compare_preparation(self, source: Source, clips: Clips, config: RunConfig) -> None:
        """Warns, once, where published weights see clips that were prepared otherwise than their authors' were."""
        like = _LIKE.get(config.method_name)
        settings = getattr(clips, "prepared", None)
        key = (source, config.checkpoint)
        if like is None or settings is None or config.checkpoint is None or key in self._compared:
            return
        from avbench.data.media.prepare_settings import unlike
        from avbench.training.weights_file import read_checkpoint

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
        return [make_plan(each, corpus, self.execution.results, joint=self.reads_joint(config)) for each in configs]

    def reads_joint(self, config: RunConfig) -> bool:
        """Returns whether a task of this command reads the joint stream of a run's method."""
        return config.method_name in self._joint or reads_joint(config)

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
        reused = self._reused(plan)
        if reused is not None:
            return reused
        results, run_id = self.execution.results, plan.evaluation.id
        try:
            stages.make_ready(plan, self.execution)
            # As with a stage: of several processes that are asked for it, one computes it and the others read it.
            folder = stage_folder(results, plan.config.task_name, run_id)
            with locked(folder, lambda: log.info("run %s is being computed by another process; waiting", run_id)):
                reused = self._reused(plan)
                if reused is not None:
                    return reused
                sweep(run_folder(results, run_id))
                for left in folder.glob(".changed-*"):  # by killed runs of versions that embedded changed clips there
                    shutil.rmtree(left)
                record, path = self._evaluate(plan, source)
        except Exception as error:
            reason = why(error)
            if reason is None:
                raise
            log.debug("run %s failed", run_id, exc_info=True)
            return Outcome(plan.config, None, None, error=reason)
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

    def _evaluate(self, plan: Plan, source: Source) -> tuple[dict[str, Any], Path]:
        """Hands the task what its stages left, and records what it finds."""
        subject = ReadySubject(plan, self.execution)
        if self.execution.forces(plan.evaluation):
            stages.clear(subject.folder)  # such as pictures
        start = time.monotonic()
        result = registry.find("task", plan.config.task_name).load().TASK.run(subject, plan.config.task)
        record = make_record(plan, source.name, result, time.monotonic() - start, self.execution.device)
        path = write_record(self.execution.results, record, result.per_sample)
        self.execution.computed(plan.evaluation)
        return record, path

    def pretrain(self, config: RunConfig) -> Path:
        """Runs the first half alone and returns the weights file.

        Raises:
            InputError: The configuration cannot be used.
            RunError: Training failed.
        """
        from avbench.training.session import WEIGHTS

        stage = plan_pretraining(config, self.corpus(config), self.execution.results)
        stages.settle(stage, self.execution)
        return stage.folder / WEIGHTS

    def plan_pretraining(self, config: RunConfig) -> tuple[Stage, Clips]:
        """Returns the stage that :meth:`pretrain` computes, and the clips it trains on."""
        stage = plan_pretraining(config, self.corpus(config), self.execution.results)
        return stage, stage.train

    def write_features(self, config: RunConfig, out: Path) -> int:
        """Writes the embeddings of a checkpoint to a file of the user's; returns the number of clips.

        All clips are embedded, in the manifest's order, unless ``data.split`` names a split.
        """
        from avbench.store.features import write_features

        if config.data.split == "auto":
            config = dataclasses.replace(config, data=dataclasses.replace(config.data, split="all"))
        plan = make_plan(config, self.corpus(config), self.execution.results, judges=False, joint=False)
        self.warn([plan])
        stages.make_ready(plan, self.execution)
        features = ReadySubject(plan, self.execution).embeddings()
        write_features(out, features)
        return len(features.ids)


def why(error: Exception) -> str | None:
    """Returns in one line why a run failed that others may go on after; None: no failure of a run, but a fault."""
    if isinstance(error, AvbenchError):
        return str(error)
    said = (str(error).splitlines() or [type(error).__name__])[0]
    from avbench.training.fitting import is_out_of_memory

    if is_out_of_memory(error):
        return f"out of memory ({said}); smaller batches or --precision bf16 take less, what is finished is kept."
    if not isinstance(error, OSError):
        return None
    return f"{error.filename}: {error.strerror}" if error.filename else said
