"""Retrieval to look at and listen to: a few queries, and what each method found first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avbench.compare.run import Run
from avbench.errors import AvbenchError, InputError
from avbench.report.judged import DIRECTIONS, nearest, open_judged
from avbench.report.page import media
from avbench.report.page.groups import BoardRow
from avbench.running.given import WEIGHTS
from avbench.store.records import whole_record
from avbench.store.rows import Row

if TYPE_CHECKING:
    from avbench.data.corpus.clips import Clips

QUERIES = 5  # a direction
FOUND = 5  # clips shown a query and method
SEED = 0  # of the stream "report gallery", which chooses the queries
BYTES = 3_200_000  # of pictures and sounds; beyond it, queries are left out
SETS = 2  # of clips that have a gallery


@dataclass(frozen=True)
class Ranking:
    """What a method found for one query: the clips, best first, and the rank of the query's own counterpart."""

    label: str
    found: tuple[str, ...]
    rank: float


def galleries(groups: Sequence[BoardRow], results: Path) -> list[dict[str, Any]]:
    """Returns a gallery for each set of clips that trained methods searched, at most :data:`SETS`.

    Each has ``data``, ``n``, ``seed``, ``why`` (what keeps it from being shown, or ""), ``clips`` by id and, by
    direction, ``queries``: the query's id and a ranking a method.
    """
    sets: dict[tuple[str, str], list[BoardRow]] = {}
    for each in groups:
        if each.first.task == "retrieval" and each.first.weights != "untrained":
            sets.setdefault((each.first.data, each.clips), []).append(each)
    largest = sorted(sets.items(), key=lambda item: -len(item[1]))[:SETS]
    return [_gallery(data, members, results) for (data, _), members in largest]


def _gallery(data: str, members: Sequence[BoardRow], results: Path) -> dict[str, Any]:
    first: dict[str, Row] = {}
    for each in members:
        first.setdefault(each.first.method, each.first)
    # A file that was judged seldom says where its clips are.
    row = min(first.values(), key=lambda row: row.weights == WEIGHTS)
    shown: dict[str, Any] = {
        "data": data,
        "n": row.n,
        "seed": SEED,
        "runs": {method: each.id for method, each in first.items()},
        "why": "",
        "clips": {},
        "directions": {},
    }
    try:
        runs = {method: Run(results, whole_record(results, each.id)) for method, each in first.items()}
        rankings, left_out = _rankings(runs)
        clips = open_judged(runs[row.method].record, results)
        shown["clips"], shown["directions"] = _filled(rankings, clips)
        shown["left_out"] = left_out
    except AvbenchError as error:
        shown["why"] = str(error)
    return shown


def _rankings(runs: Mapping[str, Run]) -> tuple[dict[str, dict[str, list[Ranking]]], list[str]]:
    """Returns, by direction and query, a ranking a method; and the methods whose embeddings are gone.

    Raises:
        InputError: No method's embeddings are there.
    """
    from avbench.rng import numpy_stream

    queries: list[str] = []
    found: dict[str, dict[str, list[Ranking]]] = {direction: {} for direction in DIRECTIONS}
    left_out, why = [], ""
    for method, run in runs.items():
        try:
            ids = sorted(run.ids)
            if not queries:
                chosen = numpy_stream(SEED, "report gallery").permutation(len(ids))[:QUERIES]
                queries = [ids[i] for i in chosen.tolist()]
            for direction, lines in nearest(run, queries, FOUND).items():
                for query, line in zip(queries, lines, strict=True):
                    found[direction].setdefault(query, []).append(Ranking(method, line.ids, line.rank))
        except InputError as error:
            left_out.append(method)
            why = str(error)
    if len(left_out) == len(runs):
        raise InputError(why)
    return found, left_out


def _filled(
    rankings: Mapping[str, Mapping[str, Sequence[Ranking]]], clips: Clips
) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """Returns the clips needed by id, and the queries of each direction, as many as the bytes allow."""
    place = {name: i for i, name in enumerate(clips.ids)}
    held: dict[str, Any] = {}
    directions: dict[str, list[Any]] = {direction: [] for direction in rankings}
    size = 0
    order = [(direction, query) for query in next(iter(rankings.values())) for direction in rankings]
    for direction, query in order:
        ranking = rankings[direction][query]
        wanted = dict.fromkeys([query, *(name for each in ranking for name in each.found)])
        fresh = {name: media.clip(clips, place[name]) for name in wanted if name not in held}
        size += sum(len(each["strip"]) + len(each["sound"]) for each in fresh.values())
        if size > BYTES and directions[direction]:
            break
        held |= fresh
        rows = [{"method": each.label, "found": each.found, "rank": each.rank} for each in ranking]
        directions[direction].append({"query": query, "rows": rows})
    return held, directions
