"""A data set of the catalogue, and the account of what there is of it, as text for a terminal."""

from __future__ import annotations

import textwrap
from collections import Counter

from avbench.data.catalogue.entry import DataSet
from avbench.data.catalogue.prepare import Account

_WIDTH = 118
_NONE = "–"


def describe(entry: DataSet) -> str:
    """Returns all that the catalogue knows of a data set, a line or paragraph each."""
    counts = {"official list": entry.official, "CAV-MAE paper": entry.paper}
    facts = {
        "get it": entry.obtain,
        "licence": entry.licence,
        "files": entry.folder,
        "lists": " or ".join(dict.fromkeys(which.files[0] for which in entry.lists)),
        "an id": entry.id,
        "modality": " and ".join(entry.modalities),
        "folds": f"{entry.folds}: --set data.fold=K judges one, avbench run --folds all" if entry.folds else "",
        **{name: _counted(counted) for name, counted in counts.items()},
        "classes": ", ".join([str(len(entry.classes))] * bool(entry.classes) + ["several a clip"] * entry.multi_label),
        "metric": entry.metric,
        "tasks": ", ".join(entry.tasks),
        "subsets": ", ".join(f"{name}: {of.count:,} clips of {of.files[0]}" for name, of in entry.subsets.items()),
        "source": entry.source,
    }
    width = max(map(len, facts)) + 2
    lines = [f"{entry.name}: {entry.title}, {entry.summary}", ""]
    lines += [_paragraph(name, " ".join(text.split()), width) for name, text in facts.items() if text]
    for title, texts in (("mirrors", entry.mirrors), ("take care", entry.traps)):
        lines += [_paragraph(title if i == 0 else "", text, width) for i, text in enumerate(texts)]
    return "\n".join(lines)


def _counted(counts: object) -> str:
    items = dict(counts).items() if isinstance(counts, dict) else ()
    return ", ".join(f"{count:,} {split}".strip() for split, count in items)


def _paragraph(name: str, text: str, width: int) -> str:
    return textwrap.fill(text, _WIDTH, initial_indent=name.ljust(width), subsequent_indent=" " * width)


def render(account: Account) -> str:
    """Returns what there is of a data set: a row for each split, and what else was found."""
    from tabulate import tabulate

    def shown(count: int | None) -> str:
        return _NONE if count is None else f"{count:,}"

    headers = ["split", "official", "in the list", "here", "missing", "broken", "usable", "CAV-MAE paper"]
    rows = [
        [count.split or "all", shown(count.official), *[_NONE] * 5, shown(count.paper)]
        if not count.listed  # its list was not read
        else [
            count.split or "all",
            *map(
                shown,
                (count.official, count.listed, count.here, count.missing, count.broken, count.usable, count.paper),
            ),
        ]
        for count in account.counts
    ]
    lines = [f"{account.name}, by {', '.join(str(path) for path in account.lists)}", ""]
    lines += [tabulate(rows, headers=headers, colalign=("left", *["right"] * 7), disable_numparse=True), ""]
    lines += [f"not read, as it was not found: {name}" for name in account.unread]
    others = {
        "files that are no clip of the list": account.extra,
        "files whose name fits several clips": account.ambiguous,
        "files of a clip that has another": account.duplicates,
    }
    lines += [f"{len(paths):,} {what}, such as {paths[0]}" for what, paths in others.items() if paths]
    for reason, count in Counter(account.reasons.values()).most_common():
        lines.append(f"{count:,} broken: {reason}")
    if account.folder is None:
        lines.append("dry run: nothing was decoded or written")
    else:
        lines.append(f"{account.folder}: prepared; missing.txt and broken.csv there name the clips")
    return "\n".join(lines)
