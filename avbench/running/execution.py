"""How and where to work: nothing here can change a number; of several processes on GPUs, last bits."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from avbench.errors import InputError

if TYPE_CHECKING:
    from avbench.running.identity import Stage
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
