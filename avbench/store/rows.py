"""A record as a row: what tables, figures and lists need of it, without its per-sample outputs."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: What a row has of its record as it stands there; a record without one of them is no record.
KEPT: Mapping[str, type] = {
    **dict.fromkeys(("id", "method", "task", "weights", "data", "split", "precision"), str),
    **dict.fromkeys(("ids_sha256", "data_sha256", "created"), str),
    **dict.fromkeys(("seed", "n", "schema"), int),
}
#: Beside these: folder and stamp of the record, and what is read of it and of the stages before it, as text.
COLUMNS = (
    "folder",
    "changed",
    "size",
    "sources",
    *KEPT,
    "checkpoint",
    "names",
    "config",
    "past",
    "spent",
    "about",
    "pretraining",
)
NUMBERS = "numbers"  # the last column: of the metrics in ``names`` the values, chances, low and high ends
_CONFIGURED = ("method", "task", "weights", "data", "split", "precision")  # beside its settings, what makes a Config
OURS = "stages/pretrain/"  # in the path of weights that were trained here
Entry = tuple[Any, ...]  # a row's columns, the numbers last


@dataclass(frozen=True, eq=False)
class Config:
    """What records of other seeds have in common, apart from the clips; runs of the same settings share one.

    Attributes:
        method: Its name; ``task``, ``weights``, ``data``, ``split`` and ``precision`` likewise.
        text: :attr:`settings` as canonical JSON.
        past_text: Likewise of :attr:`past`.
    """

    method: str
    task: str
    weights: str
    data: str
    split: str
    precision: str
    text: str
    past_text: str

    @functools.cached_property
    def settings(self) -> dict[str, Any]:
        """The record's config without the seed, and without the path of weights that were trained here."""
        found: dict[str, Any] = json.loads(self.text)
        return found

    @functools.cached_property
    def past(self) -> list[dict[str, Any]]:
        """What the trainings in these results that its weights come from say of themselves, the last first.

        Each has ``method``, ``clips`` (their hash), ``options``, ``train``, ``input``, ``init`` and ``source``; one
        that is gone is empty.
        """
        found: list[dict[str, Any]] = json.loads(self.past_text)
        return found


@dataclass(frozen=True, eq=False)
class Row:
    """One record; what it holds beside this is in its file.

    Attributes:
        folder: The name of its folder.
        changed: When the record was written last, ns.
        size: Of the record, bytes.
        sources: What else the row was read from: path below the results, time of change and size of each.
        id: The run's id; the others up to ``n`` as in the record.
        checkpoint: The path of its weights; "": it was given none.
        names: Of its metrics, a line each.
        config: Its settings.
        spent_text: JSON of :attr:`spent`; ``about_text`` likewise.
        pretraining: The id of the pretraining behind it; "": there was none, or it cannot be told.
        numbers: Of each metric the value; then of each the chance, low and high end, NaN where there is none.
    """

    folder: str
    changed: int
    size: int
    sources: str
    id: str
    method: str
    task: str
    weights: str
    data: str
    split: str
    precision: str
    ids_sha256: str
    data_sha256: str
    created: str
    seed: int
    n: int
    schema: int
    checkpoint: str
    names: str
    config: Config
    spent_text: str = field(repr=False)
    about_text: str = field(repr=False)
    pretraining: str
    numbers: Sequence[float] = field(repr=False)

    @functools.cached_property
    def metrics(self) -> dict[str, float]:
        """Key to value, fractions mostly."""
        return dict(zip(_lines(self.names), self.numbers, strict=False))

    @functools.cached_property
    def chance(self) -> dict[str, float]:
        """Key to what chance gives, where that is known."""
        return self._known(1)

    @functools.cached_property
    def ci95(self) -> dict[str, tuple[float, float]]:
        """Key to low and high end, where there is an interval."""
        low, high = self._known(2), self._known(3)
        return {key: (low[key], high[key]) for key in low}

    def _known(self, part: int) -> dict[str, float]:
        names = _lines(self.names)
        values = self.numbers[part * len(names) : (part + 1) * len(names)]
        return {key: value for key, value in zip(names, values, strict=True) if value == value}

    @property
    def spent(self) -> dict[str, Any]:
        """The record's ``stages``, ``wall_s`` and ``device_hours``, as far as it has them."""
        found: dict[str, Any] = json.loads(self.spent_text)
        return found

    @property
    def about(self) -> dict[str, Any]:
        """The record's ``git``, ``hardware`` and ``versions``, as far as it has them."""
        return _parsed(self.about_text)


@functools.lru_cache(maxsize=4096)
def _lines(names: str) -> tuple[str, ...]:
    return tuple(names.split("\n")) if names else ()


@functools.lru_cache(maxsize=4096)
def _parsed(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)
    return found


def rows_of(entries: Sequence[Entry]) -> Iterator[Row]:
    """Yields entries as rows, which share their configurations."""
    configs: dict[tuple[str, ...], Config] = {}
    at = {name: i for i, name in enumerate(COLUMNS)}
    first, text, past = at["folder"], at["config"], at["past"]
    places = [at[name] for name in (*_CONFIGURED, "config", "past")]
    for entry in entries:
        key = tuple(entry[i] for i in places)
        if key not in configs:
            configs[key] = Config(*key)
        yield Row(*(*entry[first:text], configs[key], *entry[past + 1 :]))


def trained_here(source: str) -> str:
    """Returns the id of the pretraining that weights are of, by their path; "": they are others'."""
    return source.partition(OURS)[2].partition("/")[0] if OURS in source else ""
