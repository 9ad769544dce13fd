"""The page: what it shows, gathered, and written as one HTML file."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from avbench import registry
from avbench.errors import InputError
from avbench.files import write_text
from avbench.report.page import drawn, gallery, groups, health, leaders, media, runs
from avbench.report.page.groups import BoardRow
from avbench.report.ranking import Judge
from avbench.report.records import Records
from avbench.store.rows import Row

_HERE = Path(__file__).parent
_PICTURED = ("localization", "reconstruction")
_NO_SCORE = ("drop/",)  # a difference of two scores, of which no method has the best
_ROUND = 6  # decimals of the numbers in the page


@dataclass(frozen=True)
class Written:
    """A written page: how many records it shows, and its bytes."""

    records: int
    size: int


def write(results: Path, out: Path, data: str | None = None) -> Written:
    """Writes the report of a results folder.

    Args:
        results: The folder.
        out: The HTML file.
        data: Only records of one data set, by name; None: all.

    Raises:
        InputError: There are no records, or none of that data set.
    """
    archive = Records(results)
    chosen = [row for row in archive.rows if data is None or row.data == data]
    if not archive.rows:
        raise InputError(f"{results}: found no records; avbench run writes them.")
    if not chosen:
        names = ", ".join(sorted(archive.data()))
        raise InputError(f"--data {data}: found no record of it in {results}, valid: {names}.")
    page = _page(chosen, archive, data)
    text = _render(page)
    write_text(out, text)
    return Written(len(chosen), len(text.encode()))


def _page(chosen: Sequence[Row], archive: Records, data: str | None) -> dict[str, Any]:
    results = archive.results
    rows = groups.board(chosen, results)
    shared = runs.described(rows, results)
    main = groups.main_clips(rows)
    leads = leaders.leaders(rows, main)
    rows[0].judge.save()
    return {
        "head": _head(chosen, results),
        "broken": archive.broken,
        "glance": _glance(rows, main, leads),
        "tables": list(_tables(archive, rows[0].judge, [data] if data else [None, *sorted(archive.data())])),
        "figures": list(_figures(archive, data)),
        "galleries": (shown := gallery.galleries(rows, results)),
        "pictures": {task: drawn.of_task(task, rows, results) for task in _PICTURED},
        "health": health.data_sets(rows),
        "json": {
            "results": results.name,
            "tasks": {name: groups.task_info(name, members) for name, members in _by_task(rows).items()},
            "metrics": {key: groups.metric_info(key, each.place[0]) for each in rows for key in each.values},
            "groups": [_row(each, main) | {"leads": leads.get(i, {})} for i, each in enumerate(rows)],
            "galleries": shown,
            **shared,
        },
    }


def _by_task(rows: Iterable[BoardRow]) -> dict[str, list[BoardRow]]:
    found: dict[str, list[BoardRow]] = {}
    for each in rows:
        found.setdefault(each.first.task, []).append(each)
    order = ("retrieval", "linear_probe", "classification", "localization", "reconstruction", "shuffled_pairs")
    return dict(sorted(found.items(), key=lambda item: (order.index(item[0]) if item[0] in order else 99, item[0])))


def _head(rows: Sequence[Row], results: Path) -> dict[str, Any]:
    from avbench.store.provenance import git_state
    from avbench.version import __version__

    state = git_state()
    created = sorted(row.created for row in rows if row.created)
    git = [row.about.get("git") or {} for row in rows]
    return {
        "results": results.resolve().name,
        "records": len(rows),
        "data": sorted({row.data for row in rows}),
        "methods": len({row.method for row in rows}),
        "tasks": len({row.task for row in rows}),
        "seeds": sorted({row.seed for row in rows}),
        "hours": sum(row.spent.get("device_hours") or 0.0 for row in rows),
        "first": created[0][:10] if created else "",
        "last": created[-1][:10] if created else "",
        # Of the page itself no time is told: the same records give the same bytes.
        "newest": created[-1][:16].replace("T", " ") + " UTC" if created else "",
        "version": __version__,
        "commit": (state["commit"] or "")[:10],
        "dirty": state["dirty"],
        "commits": len({state.get("commit") or "unknown" for state in git}),
        "changed": sum(bool(state.get("dirty")) for state in git),
    }


def _glance(rows: Sequence[BoardRow], main: groups.MainClips, leads: leaders.Leads) -> list[dict[str, Any]]:
    """Returns the trained row that leads each task and data set, by the metric shown first, of those that compare."""
    found = []
    said = {id(row): leads.get(i, {}) for i, row in enumerate(rows)}
    for task, members in _by_task(rows).items():
        key = groups.task_info(task, members)["first"]
        if not key or key.startswith(_NO_SCORE):
            continue
        info = groups.metric_info(key, task)
        places: dict[str, list[BoardRow]] = {}
        for each in members:
            if key in each.values and groups.competes(each, main):
                places.setdefault(each.first.data, []).append(each)
        name = registry.title(task)
        for data, candidates in places.items():
            best = (max if info["up"] else min)(candidates, key=lambda each: each.values[key][0] or 0.0)
            _, _, low, high, level = best.values[key]
            nothing = low is not None and high is not None and level is not None and low <= level <= high
            lead = "" if nothing else said[id(best)].get(key, "not told from others" if candidates[1:] else "")
            mean, sd, _, _, chance = (
                None if value is None else f"{value * info['factor']:.{info['digits']}f}" for value in best.values[key]
            )
            found.append(
                {
                    "task": name.capitalize() if name.islower() else name,  # kNN has its capitals
                    "name": task,
                    "data": data,
                    "method": "none clear of chance" if nothing else best.first.method,
                    "lead": "" if lead == leaders.BEST else lead,
                    "metric": info["label"],
                    "unit": info["unit"],
                    "mean": mean,
                    "sd": sd,
                    "chance": chance,
                    "n_methods": len({each.first.method for each in candidates}),
                }
            )
    return found


def _row(each: BoardRow, main: groups.MainClips) -> dict[str, Any]:
    task, data, method, weights = each.place
    differing = runs.differences(each.first)
    known = [hours for row in each.rows if (hours := row.spent.get("device_hours")) is not None]
    return {
        "task": task,
        "data": data,
        "method": method,
        "weights": weights,
        "settings": list(each.settings),
        "n": each.first.n,
        "clips": each.clips,
        "other": each.clips != main[task, data],
        "competes": groups.competes(each, main),
        "seeds": [row.seed for row in each.rows],
        "hours": round(sum(known) / len(known), 5) if known else None,
        "runs": [row.id for row in each.rows],
        "differs": differing,
        "values": {
            key: [None if value is None else round(value, _ROUND) for value in values]
            for key, values in each.values.items()
        },
    }


def _tables(archive: Records, judge: Judge, names: Sequence[str | None]) -> Iterator[dict[str, Any]]:
    """Yields the tables that have a number of our own: of the papers' data sets (None), and of others by name.

    Args:
        archive: The records.
        judge: Of these, with what it has found already.
        names: Of the data sets.
    """
    from avbench.report.tables.cells import Builder
    from avbench.report.tables.formats.html import fragment
    from avbench.report.tables.tables_of import tables_of

    builder = Builder(archive, judge)
    for name in names:
        for table in tables_of(archive.results, data=name, builder=builder):
            if table.measured:
                own = f"{table.id}-{name or 'paper'}"
                # The id is the fold's, and a table of several data sets would have it twice.
                html = fragment(table).replace(f' id="{table.id}"', "", 1)
                yield {"id": own, "title": table.title, "caption": table.caption, "data": name, "html": html}


def _figures(archive: Records, data: str | None) -> Iterator[dict[str, Any]]:
    from avbench.report.figures.drawn import figures_of

    for figure in figures_of(archive, data=data):
        if figure.drawing is None:
            continue
        uri, width, height = media.picture(figure.png(), quality=80)
        yield {
            "id": f"{figure.name}-{figure.data}",
            "title": figure.title,
            "source": figure.source,
            "data": figure.data,
            "caption": figure.drawing.caption,
            "alt": figure.drawing.alt,
            "uri": uri,
            "width": width,
            "height": height,
        }


def _render(page: dict[str, Any]) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    style = (_HERE / "style.css").read_text(encoding="utf-8")
    script = (_HERE / "page.js").read_text(encoding="utf-8")
    return environment.get_template("page.html.j2").render(
        **page,
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
        data_json=for_script(page["json"]),
    )


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}"


def for_script(value: Any) -> str:
    """Returns JSON that can stand in a ``script`` element: nothing in it can end the element or begin a comment."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return (
        text.replace("<", "\\u003c")
        .replace(">", "\\u003e")
        .replace("&", "\\u0026")
        .replace("\u2028", "\\u2028")
        .replace("\u2029", "\\u2029")
    )
