"""The records of a results folder by method, task and data."""

from __future__ import annotations

from pathlib import Path

from avbench.compare.configuration import Group, group
from avbench.running.current import stale
from avbench.store import index


class Records:
    """The records of a results folder; those that cannot be read are left out and named in ``broken``.

    ``stale`` has the ids of archived ones whose configuration would have another id today
    (:mod:`avbench.running.current`).
    """

    def __init__(self, results: Path) -> None:
        self.results = results
        found = index.read(results)
        self.rows, self.broken = found.rows, found.broken
        self.stale = stale(self.rows, results)
        self._places: dict[tuple[str, str, str], list[Group]] = {}
        for each in group(self.rows):
            first = each.first
            self._places.setdefault((first.method, first.task, first.data), []).append(each)

    def of(self, method: str, task: str, data: str) -> list[Group]:
        """Returns the records of a method, task and data set by configuration and clips.

        Args:
            method: The method.
            task: The task.
            data: The data set.
        """
        return self._places.get((method, task, data), [])

    def data(self) -> set[str]:
        """Returns the names of all data sets that records are of."""
        return {data for _, _, data in self._places}
