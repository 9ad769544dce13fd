"""A grid: every method with every task and seed, without what cannot be done and what is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from avbench import registry
from avbench.errors import InputError

ALL = "all"


@dataclass(frozen=True)
class Cells:
    """What a grid consists of: tasks by method, and what it leaves out with the reason."""

    tasks: dict[str, tuple[str, ...]]
    left_out: tuple[str, ...]


def expand(methods: Sequence[str], tasks: Sequence[str]) -> Cells:
    """Returns the combinations that can be done.

    Args:
        methods: Names, or ``all``.
        tasks: Names, or ``all``.

    Raises:
        InputError: An unknown name, or no method can do any of the tasks.
    """
    chosen = _names("method", methods)
    wanted = _names("task", tasks)
    cells: dict[str, tuple[str, ...]] = {}
    left_out: list[str] = []
    for method in chosen:
        entry = registry.find("method", method)
        reasons = {task: registry.why_not(entry, registry.find("task", task)) for task in wanted}
        able = tuple(task for task, reason in reasons.items() if not reason)
        if able:
            cells[method] = able
        left_out += filter(None, reasons.values())
    if not cells:
        raise InputError(f"found nothing that can be done: {' '.join(left_out)}")
    return Cells(cells, tuple(left_out))


def _names(kind: registry.Kind, names: Sequence[str]) -> list[str]:
    known = registry.entries(kind)
    every = [name for name, entry in known.items() if kind != "task" or not registry.of_records(entry)]
    chosen = every if ALL in names else list(dict.fromkeys(names))
    for name in chosen:
        registry.find(kind, name)
    return chosen
