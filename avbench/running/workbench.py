"""The subject of a task as a plan makes it: weights and extractions, computed or reused when first asked for."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avbench.errors import InputError
from avbench.running import extraction, stages
from avbench.running.plan import Plan, Stage, extraction_stage
from avbench.running.request import vary
from avbench.tasks.subject import Part, Pooled, Subject, Tokens

if TYPE_CHECKING:
    from avbench.data.corpus.clips import Clips
    from avbench.methods.base import Method
    from avbench.running.runner import Execution
    from avbench.store.features import Features


class Workbench(Subject):
    """What a task may ask for; see :class:`~avbench.tasks.subject.Subject`.

    Args:
        plan: The run.
        execution: Where and how to work.

    Attributes:
        used: The stages that were used, also by variants, with the seconds that each took when it was computed.
        inside_s: Seconds spent here on such stages, whether computing or only looking.
    """

    def __init__(self, plan: Plan, execution: Execution) -> None:
        self.plan = plan
        self.config = plan.config
        self.device = execution.device
        self.progress = execution.progress
        self.folder = execution.results / "stages" / plan.config.task_name / plan.evaluation.id
        self.used: dict[Stage, float] = {}
        self.inside_s = 0.0
        self._execution = execution
        self._parent: Workbench | None = None
        self._depth = 0

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities the method takes."""
        from avbench import registry

        taken: tuple[str, ...] = registry.find("method", self.config.method_name).card["modalities"]
        return taken

    @property
    def train(self) -> Clips:
        """The clips of the training split."""
        if self.plan.train is None:
            raise InputError(f"--data {self.config.data.source}: found no clips of split 'train'.")
        return self.plan.train

    @property
    def tune(self) -> Clips | None:
        """The data's own tuning split, where it has one."""
        return self.plan.tune

    @property
    def evaluated(self) -> Clips:
        """The clips that are judged."""
        return self.plan.evaluated

    def weights(self) -> Path | None:
        """Returns the weights file, pretraining first where that is not done; None: the first, untrained weights."""
        stage = self.plan.pretrain
        if stage is None or self.plan.train is None:
            return self.config.checkpoint
        tune = self.plan.tune if self.config.train.select == "best" else None
        with self._using(stage):
            return stages.pretrain(self.config, stage, self.plan.train, tune, self._execution)

    def method(self) -> Method:
        """Returns the method with its weights, a new object, in evaluation mode on the device."""
        from avbench.training.checkpoints import load_weights

        weights = self.weights()
        method = stages.build(self.config)
        if weights is not None:
            load_weights(method, weights)
        return method.to(self.device).eval()

    def training_log(self) -> dict[str, Any] | None:
        """Returns what the pretraining says of itself, training first where that is not done; None without one."""
        self.weights()
        return None if self.plan.pretrain is None else stages.read_done(self.plan.pretrain)

    def embeddings(self) -> Features:
        """Returns the retrieval embeddings of the evaluated clips."""
        return extraction.features(self._extracted("vectors", self.evaluated), self.evaluated, self.config)

    def pooled(self, part: Part) -> Pooled:
        """Returns one vector a stream for each clip of a split."""
        clips = self._clips(part)
        return extraction.pooled(self._extracted("vectors", clips), clips)

    def tokens(self, part: Part) -> Tokens:
        """Returns patch tokens and sound vectors for each clip of a split."""
        clips = self._clips(part)
        side = self.config.input.image_size // self.config.model.patch_size
        return extraction.tokens(self._extracted("tokens", clips), clips, (side, side))

    def variant(self, **sections: Mapping[str, Any]) -> Workbench:
        """Returns the same run with other settings, one of those that the task named in ``variants``.

        Raises:
            InputError: The task did not name it.
        """
        wanted = vary(self.config, sections)
        for plan in self.plan.variants:
            if plan.config == wanted:
                bench = Workbench(plan, self._execution)
                bench._parent = self
                return bench
        raise InputError(f"task '{self.config.task_name}': asks for a variant {sections} that it has not named.")

    def _clips(self, part: Part) -> Clips:
        return self.train if part == "train" else self.evaluated

    def _extracted(self, kind: extraction.Kind, clips: Clips) -> Path:
        stage = extraction_stage(self.config, kind, clips, self.plan.weights, self._execution.results)
        with self._using(stage):
            stages.extract(self.config, stage, kind, clips, self.method, self._execution)
        if self.plan.pretrain is not None:
            if self.plan.pretrain.done and not stages.is_readable(self.plan.pretrain):
                self.weights()  # made whole again: the record names it and counts its seconds
            self._count(self.plan.pretrain)  # an extraction that is done needs no weights, but stands for them
        return stage.folder

    @contextlib.contextmanager
    def _using(self, stage: Stage) -> Iterator[None]:
        """Counts a stage among those used, here and where this is a variant of."""
        self._depth += 1
        start = time.monotonic()
        try:
            yield
        finally:
            self._depth -= 1
            seconds = time.monotonic() - start if self._depth == 0 else 0.0
        self._count(stage, seconds)

    def _count(self, stage: Stage, inside_s: float = 0.0) -> None:
        bench: Workbench | None = self
        while bench is not None:
            bench.used[stage] = stages.read_done(stage)["wall_s"] if stage.done else 0.0
            bench.inside_s += inside_s
            bench = bench._parent
