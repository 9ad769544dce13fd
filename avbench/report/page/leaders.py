"""Which row leads each metric of the leaderboard, and whether it may be called the best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from avbench.metrics.units import unit
from avbench.report.page.groups import BoardRow, MainClips, competes, metric_info
from avbench.report.ranking import Ranked, Verdict, judged

BEST = "best"
Leads = dict[int, dict[str, str]]  # place of a row to metric to what is said of it


def leaders(rows: Sequence[BoardRow], main: MainClips) -> Leads:
    """Returns the rows that have the best value of a metric, with "best" or why it may not be called that.

    It may where it is clear of chance, separated from all others that compete (corrected for all their pairs), and no
    untrained model is better. One at chance does not lead.
    """
    leads: Leads = {}
    for place in dict.fromkeys(row.place[:2] for row in rows):
        peers = {i: row for i, row in enumerate(rows) if row.place[:2] == place and row.clips == main[place]}
        for key in dict.fromkeys(key for row in peers.values() for key in row.values):
            if metric_info(key, place[0])["ranked"]:
                for i, words in _leads(key, place[0], peers, main).items():
                    leads.setdefault(i, {})[key] = words
    return leads


def _leads(key: str, task: str, peers: Mapping[int, BoardRow], main: MainClips) -> dict[int, str]:
    up = not unit(key, task).lower
    means = {i: mean for i, row in peers.items() if key in row.values and (mean := row.values[key][0]) is not None}
    column = [Ranked(i, mean, peers[i].measured(key)) for i, mean in means.items() if competes(peers[i], main)]
    if not column:
        return {}
    verdicts = judged([(up, column)], peers[column[0].place].judge).verdicts
    top = [i for i, verdict in verdicts.items() if verdict.best == BEST]
    if not top:
        return {}
    above = [
        peers[i].first.method
        for i, mean in means.items()
        if not competes(peers[i], main) and (mean > means[top[0]]) == up and mean != means[top[0]]
    ]
    others = {i: verdict for i, verdict in verdicts.items() if i not in top}
    words = f"untrained {above[0]} is better" if above else _said(others, peers)
    return dict.fromkeys(top, words)


def _said(others: Mapping[int, Verdict], peers: Mapping[int, BoardRow]) -> str:
    tied = list(dict.fromkeys(peers[i].first.method for i, verdict in others.items() if verdict.tied))
    if tied:
        return f"not separated from {', '.join(tied)}"
    reasons = sorted({verdict.untested for verdict in others.values()} - {""})
    return f"not tested: {', '.join(reasons)}" if reasons else BEST
