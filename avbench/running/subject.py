"""What a task is handed: the output of stages that are done, read when asked for; nothing is computed here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avbench.data.corpus.changed import changed
from avbench.errors import InputError
from avbench.running import finetuning, modalities, stages, weights
from avbench.running.execution import Execution
from avbench.running.plan import EXTRACTIONS, Plan
from avbench.running.request import vary
from avbench.store import extracted
from avbench.store.extracted import Kind, Pooled, Tokens
from avbench.store.records import stage_folder
from avbench.tasks.base import FINETUNED, TRAINING_LOG, WEIGHTS
from avbench.tasks.subject import Part, Subject

if TYPE_CHECKING:
    from avbench.data.corpus.changed import Change
    from avbench.data.corpus.clips import Clips
    from avbench.methods.base import Method
    from avbench.methods.classifier import Classifier
    from avbench.running.identity import Extraction
    from avbench.store.features import Features


class ReadySubject(Subject):
    """A model with weights whose stages are done; see :class:`~avbench.tasks.subject.Subject`.

    Args:
        plan: The run.
        execution: Where its stages are, and the device.
        change: What became of the judged clips; None: they are as they are.
    """

    def __init__(self, plan: Plan, execution: Execution, change: Change | None = None) -> None:
        self.plan = plan
        self.config = plan.config
        self.device = execution.device
        self.progress = execution.progress
        self.folder = stage_folder(execution.results, plan.config.task_name, plan.evaluation.id)
        self._execution, self._change = execution, change

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities that the method takes and the clips have."""
        clips = (self.plan.evaluated, *(() if self.plan.train is None else (self.plan.train,)))
        return modalities.shared(self.config, *clips)

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
        return self.plan.evaluated if self._change is None else changed(self.plan.evaluated, self._change)

    def weights(self) -> Path | None:
        """Returns the weights file; None: the first, untrained weights."""
        self._check(WEIGHTS)
        return weights.weights_file(self.config, self.plan.stages)

    def method(self) -> Method:
        """Returns the method with its weights, a new object, in evaluation mode on the device."""
        self._check(WEIGHTS)
        return weights.load_method(self.config, self.plan.stages, self.device)

    def classifier(self, mode: str) -> Classifier:
        """Returns the method fine-tuned in a mode, a new object, in evaluation mode on the device."""
        self._check(FINETUNED)
        for stage in self.plan.finetunings:
            if stage.mode == mode:
                return finetuning.read(stage, self.device)
        raise self._unknown(f"a model fine-tuned as {mode}", (stage.mode for stage in self.plan.finetunings))

    def training_log(self) -> dict[str, Any] | None:
        """Returns what the pretraining says of itself; None where there is none."""
        self._check(TRAINING_LOG, WEIGHTS)
        return None if self.plan.pretrain is None else stages.read_done(self.plan.pretrain)

    def embeddings(self) -> Features:
        """Returns the retrieval embeddings of the evaluated clips."""
        found = self._extraction("vectors", "evaluated")
        return extracted.features(found.folder, found.read.ids, self.config.to_dict())

    def pooled(self, part: Part) -> Pooled:
        """Returns one vector a stream for each clip of a split."""
        found = self._extraction("vectors", part)
        return extracted.pooled(found.folder, found.read.ids)

    def tokens(self, part: Part) -> Tokens:
        """Returns patch tokens and sound vectors for each clip of a split."""
        found = self._extraction("tokens", part)
        side = self.config.input.image_size // self.config.model.patch_size
        return extracted.tokens(found.folder, found.read.ids, (side, side))

    def variant(self, **sections: Mapping[str, Any]) -> ReadySubject:
        """Returns the same run with other settings, one of those that the task named in ``variants``.

        Raises:
            InputError: The task did not name it.
        """
        wanted = vary(self.config, sections)
        for plan in self.plan.variants:
            if plan.config == wanted:
                return ReadySubject(plan, self._execution)
        raise InputError(f"task '{self.config.task_name}': asks for a variant {sections} that it has not named.")

    def on(self, change: Change) -> ReadySubject:
        """Returns the same model on the judged clips as a change leaves them, one of those that the task names."""
        return ReadySubject(self.plan, self._execution, change)

    def _extraction(self, kind: Kind, part: Part) -> Extraction:
        change = self._change if part == "evaluated" else None
        wanted = kind, part, change is not None
        self._check(next(need for need, each in EXTRACTIONS.items() if each == wanted))
        for stage in self.plan.extractions:
            if (stage.name, stage.part, stage.change) == (kind, part, change):
                return stage
        raise self._unknown(f"clips with {change}", (str(stage.change) for stage in self.plan.extractions))

    def _check(self, *needs: str) -> None:
        if not self.plan.needs.intersection(needs):
            raise self._unknown(f"'{needs[0]}'", sorted(self.plan.needs))

    def _unknown(self, asked: str, known: Iterable[str]) -> InputError:
        return InputError(
            f"task '{self.config.task_name}': asks for {asked}, valid: what it needs by its card and settings"
            f" ({', '.join(known) or 'nothing'}); add it to needs in its CARD."
        )
