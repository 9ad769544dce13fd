"""A model on other clips than those of its run: computed when a task asks, and kept as long as the task holds it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avbench.errors import InputError
from avbench.store import extracted
from avbench.store.extracted import Pooled, Tokens
from avbench.tasks.subject import Part, Subject

if TYPE_CHECKING:
    from avbench.data.corpus.clips import Clips
    from avbench.methods.base import Method
    from avbench.methods.classifier import Classifier
    from avbench.running.identity import Kind
    from avbench.store.features import Features


class ChangedSubject(Subject):
    """The model of a run, and other clips to judge; see :class:`~avbench.tasks.subject.Subject`.

    Args:
        subject: The run's.
        clips: The clips.
        extract: Computes what the model makes of such clips, into a folder.
    """

    def __init__(self, subject: Subject, clips: Clips, extract: Callable[[Kind, Clips, Path], None]) -> None:
        self._of = subject
        self._extract = extract
        self._clips = clips
        self._folders: dict[Kind, tempfile.TemporaryDirectory[str]] = {}
        self.config, self.folder = subject.config, subject.folder
        self.device, self.progress = subject.device, subject.progress

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities the method takes."""
        return self._of.modalities

    @property
    def train(self) -> Clips:
        """The clips of the training split, as they are."""
        return self._of.train

    @property
    def tune(self) -> Clips | None:
        """The data's own tuning split, as it is."""
        return self._of.tune

    @property
    def evaluated(self) -> Clips:
        """The other clips."""
        return self._clips

    def method(self) -> Method:
        """Returns the run's method."""
        return self._of.method()

    def classifier(self, mode: str) -> Classifier:
        """Returns the run's fine-tuned method."""
        return self._of.classifier(mode)

    def weights(self) -> Path | None:
        """Returns the run's weights."""
        return self._of.weights()

    def training_log(self) -> dict[str, Any] | None:
        """Returns what the run's pretraining says of itself."""
        return self._of.training_log()

    def embeddings(self) -> Features:
        """Returns the retrieval embeddings of the other clips."""
        return extracted.features(self._extracted("vectors"), self._clips.ids, self.config.to_dict())

    def pooled(self, part: Part) -> Pooled:
        """Returns one vector a stream for each of the other clips, or of the training split as it is."""
        if part == "train":
            return self._of.pooled(part)
        return extracted.pooled(self._extracted("vectors"), self._clips.ids)

    def tokens(self, part: Part) -> Tokens:
        """Returns patch tokens and sound vectors of the other clips, or of the training split as it is."""
        if part == "train":
            return self._of.tokens(part)
        side = self.config.input.image_size // self.config.model.patch_size
        return extracted.tokens(self._extracted("tokens"), self._clips.ids, (side, side))

    def variant(self, **sections: Mapping[str, Any]) -> Subject:
        """Refuses: the run's variants are of its own clips."""
        raise InputError(f"task '{self.config.task_name}': asks for a variant of changed clips.")

    def on(self, clips: Clips) -> Subject:
        """Returns the same model on other clips again."""
        return self._of.on(clips)

    def _extracted(self, kind: Kind) -> Path:
        if kind not in self._folders:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._folders[kind] = tempfile.TemporaryDirectory(dir=self.folder, prefix=".changed-")
            self._extract(kind, self._clips, Path(self._folders[kind].name))
        return Path(self._folders[kind].name)
