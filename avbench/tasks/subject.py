"""What a task is given: a model with weights, and the clips it is judged on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from avbench.config import RunConfig
    from avbench.data.corpus.changed import Change
    from avbench.data.corpus.clips import Clips
    from avbench.methods.base import Method
    from avbench.methods.classifier import Classifier
    from avbench.store.extracted import Pooled, Tokens
    from avbench.store.features import Features

Part = Literal["train", "evaluated"]


class Subject(Protocol):
    """A model with weights, and the clips it is judged on: complete, and for reading only.

    What the task's card lists among its needs is there; asking for anything else is an error.

    Attributes:
        config: The resolved configuration of the run.
        folder: This evaluation's own folder, for work that is long enough to be resumed.
        device: Where to compute.
        progress: Whether to show bars.
    """

    config: RunConfig
    folder: Path
    device: str
    progress: bool

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities that the method takes and the clips have."""
        ...

    @property
    def train(self) -> Clips:
        """The clips of the training split.

        Raises:
            InputError: The data has none.
        """
        ...

    @property
    def tune(self) -> Clips | None:
        """The data's own tuning split, where it has one."""
        ...

    @property
    def evaluated(self) -> Clips:
        """The clips that are judged."""
        ...

    def method(self) -> Method:
        """Returns the method with its weights, a new object, in evaluation mode on :attr:`device`."""
        ...

    def classifier(self, mode: str) -> Classifier:
        """Returns the method fine-tuned in a mode, a new object, in evaluation mode on :attr:`device`."""
        ...

    def weights(self) -> Path | None:
        """Returns the weights file; None: the first, untrained weights."""
        ...

    def training_log(self) -> dict[str, Any] | None:
        """Returns what the pretraining says of itself, such as the last row of its losses; None where there is none."""
        ...

    def embeddings(self) -> Features:
        """Returns the retrieval embeddings of the evaluated clips."""
        ...

    def pooled(self, part: Part) -> Pooled:
        """Returns one vector a stream for each clip of a split."""
        ...

    def tokens(self, part: Part) -> Tokens:
        """Returns patch tokens and sound vectors for each clip of a split."""
        ...

    def on(self, change: Change) -> Subject:
        """Returns the same model, and the judged clips as one of the changes leaves them that the task names."""
        ...

    def variant(self, **sections: Mapping[str, Any]) -> Subject:
        """Returns the same run with other settings, such as ``train={"pairing": "shuffled"}``."""
        ...
