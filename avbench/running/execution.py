"""How and where to work: nothing here can change a number; of several processes on GPUs, last bits."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from avbench.errors import InputError
from avbench.store.records import content_id

if TYPE_CHECKING:
    from avbench.encoders.judged import Judged
    from avbench.running.identity import Extraction, Stage
    from avbench.training.group import ProcessGroup


def _alone() -> ProcessGroup:
    from avbench.training.group import ProcessGroup

    return ProcessGroup.alone()


@dataclass(frozen=True, kw_only=True)
class Execution:
    """Where results go and what computes them.

    Attributes:
        results: The results folder.
        device: ``cpu`` or ``cuda``.
        force: Compute again what is done.
        progress: Whether to show bars.
        processes: How many extract in parallel, and on GPUs fine-tune together.
        group: The processes that train one model together.
    """

    results: Path = Path("results")
    device: str = "cpu"
    force: bool = False
    progress: bool = True
    processes: int = 1
    group: ProcessGroup = field(default_factory=lambda: _alone())
    _computed: set[str] = field(default_factory=set, compare=False, repr=False)
    _loaded: dict[str, Judged] = field(default_factory=dict, compare=False, repr=False)

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

    def model(self, stage: Extraction) -> Judged:
        """Returns what a stage extracts with, with its weights: that of the extraction before, where it is the same.

        Raises:
            InputError: The weights do not fit the model.
            RunError: An encoder cannot be loaded.
        """
        from avbench.running import weights

        same = content_id(
            {name: value for name, value in stage.key.items() if name not in ("stage", "streams", "clips")}
        )
        if same not in self._loaded:
            self.release()
            self._loaded[same] = weights.load(stage.config, stage.after, self.device)
        return self._loaded[same]

    def release(self) -> None:
        """Lets go of the model that extracted last, and the memory it takes."""
        self._loaded.clear()

    def computed(self, stage: Stage) -> None:
        """Notes that a stage was computed by this process."""
        self._computed.add(stage.id)
