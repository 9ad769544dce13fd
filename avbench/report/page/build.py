"""The page: what it shows, gathered, and written as one HTML file."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from avbench.errors import InputError
from avbench.files import write_text
from avbench.report.page import drawn, gallery, groups, health, leaders, media, runs
from avbench.report.page.groups import Group, Record

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
    records, broken = groups.read(results)
    chosen = [record for record in records if data is None or record["data"] == data]
    if not records:
        raise InputError(f"{results}: found no records; avbench run writes them.")
    if not chosen:
        names = ", ".join(sorted({record["data"] for record in records}))
        raise InputError(f"--data {data}: found no record of it in {results}, valid: {names}.")
    page = _page(chosen, broken, results, data)
    text = _render(page)
    write_text(out, text)
    return Written(len(chosen), len(text.encode()))


def _page(records: Sequence[Record], broken: Sequence[str], results: Path, data: str | None) -> dict[str, Any]:
    rows = groups.group(records, results)
    shared = runs.described(rows, results)
    main = groups.main_clips(rows)
    leads = leaders.leaders(rows, main)
    rows[0].judge.save()
    return {
        "head": _head(records, results),
        "broken": broken,
        "glance": _glance(rows, main, leads),
        "tables": list(_tables(results, [data] if data else [None, *sorted({record["data"] for record in records})])),
        "figures": list(_figures(results, data)),
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


def _by_task(rows: Iterable[Group]) -> dict[str, list[Group]]:
    found: dict[str, list[Group]] = {}
    for each in rows:
        found.setdefault(each.first["task"], []).append(each)
    order = ("retrieval", "linear_probe", "classification", "localization", "reconstruction", "shuffled_pairs")
    return dict(sorted(found.items(), key=lambda item: (order.index(item[0]) if item[0] in order else 99, item[0])))


def _head(records: Sequence[Record], results: Path) -> dict[str, Any]:
    from avbench.store.provenance import git_state
    from avbench.version import __version__

    state = git_state()
    created = sorted(record["created"] for record in records if record.get("created"))
    commits = {(record.get("git") or {}).get("commit") or "unknown" for record in records}
    return {
        "results": results.resolve().name,
        "records": len(records),
        "data": sorted({record["data"] for record in records}),
        "methods": len({record["method"] for record in records}),
        "tasks": len({record["task"] for record in records}),
        "seeds": sorted({record["seed"] for record in records}),
        "hours": sum(record.get("device_hours") or 0.0 for record in records),
        "first": created[0][:10] if created else "",
        "last": created[-1][:10] if created else "",
        "written": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "version": __version__,
        "commit": (state["commit"] or "")[:10],
        "dirty": state["dirty"],
        "commits": len(commits),
        "changed": sum(bool((record.get("git") or {}).get("dirty")) for record in records),
    }


def _glance(rows: Sequence[Group], main: groups.MainClips, leads: leaders.Leads) -> list[dict[str, Any]]:
    """Returns the trained row that leads each task and data set, by the metric shown first, of those that compare."""
    found = []
    said = {id(row): leads.get(i, {}) for i, row in enumerate(rows)}
    for task, members in _by_task(rows).items():
        key = groups.task_info(task, members)["first"]
        if not key or key.startswith(_NO_SCORE):
            continue
        info = groups.metric_info(key, task)
        places: dict[str, list[Group]] = {}
        for each in members:
            if key in each.values and groups.competes(each, main):
                places.setdefault(each.first["data"], []).append(each)
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
                    "task": task.replace("_", " "),
                    "name": task,
                    "data": data,
                    "method": "none clear of chance" if nothing else best.first["method"],
                    "lead": "" if lead == leaders.BEST else lead,
                    "metric": info["label"],
                    "unit": info["unit"],
                    "mean": mean,
                    "sd": sd,
                    "chance": chance,
                    "n_methods": len({each.first["method"] for each in candidates}),
                }
            )
    return found


def _row(each: Group, main: groups.MainClips) -> dict[str, Any]:
    task, data, method, weights = each.place
    differing = runs.differences(each.first)
    hours = [record.get("device_hours") for record in each.records]
    known = [value for value in hours if value is not None]
    return {
        "task": task,
        "data": data,
        "method": method,
        "weights": weights,
        "settings": list(each.settings),
        "n": each.first["n"],
        "clips": each.clips,
        "other": each.clips != main[task, data],
        "competes": groups.competes(each, main),
        "seeds": [record["seed"] for record in each.records],
        "hours": round(sum(known) / len(known), 5) if known else None,
        "runs": [record["id"] for record in each.records],
        "differs": differing,
        "values": {
            key: [None if value is None else round(value, _ROUND) for value in values]
            for key, values in each.values.items()
        },
    }


def _tables(results: Path, names: Sequence[str | None]) -> Iterator[dict[str, Any]]:
    """Yields the tables that have a number of our own: of the papers' data sets (None), and of others by name."""
    from avbench.report.tables.formats.html import fragment
    from avbench.report.tables.tables_of import tables_of

    for name in names:
        for table in tables_of(results, data=name):
            if table.measured:
                own = f"{table.id}-{name or 'paper'}"
                # The id is the fold's, and a table of several data sets would have it twice.
                html = fragment(table).replace(f' id="{table.id}"', "", 1)
                yield {"id": own, "title": table.title, "caption": table.caption, "data": name, "html": html}


def _figures(results: Path, data: str | None) -> Iterator[dict[str, Any]]:
    from avbench.report.figures.drawn import figures_of

    for figure in figures_of(results, data=data):
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
