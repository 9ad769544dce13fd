"""What must hold after ``preemption.py``, and the table of it."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from preemption_cluster import Cluster, forked
from preemption_work import LOG_EVERY, STEPS, Diary, Work, digest, newest_checkpoint, pretrain, scores

from avbench.errors import AvbenchError
from avbench.files import sha256_file
from avbench.launch.job import is_full
from avbench.launch.status import counts, job_states
from avbench.store.records import all_records, read_per_sample, read_record
from avbench.training.session import WEIGHTS

_SAMPLE = 25  # trainings that are made again undisturbed: those that were interrupted most often
_TIMES = ("clips_per_s", "wall_s", "data_wait_share")  # columns of metrics.csv that differ from run to run


@dataclass
class Findings:
    """What was counted, and what should not have been."""

    rows: list[tuple[str, object, str]] = field(default_factory=list)

    def tell(self, what: str, value: object) -> None:
        """Adds a row."""
        self.rows.append((what, value, ""))

    def expect(self, what: str, value: object, right: object) -> None:
        """Adds a row that must have a value."""
        self.rows.append((what, value, "ok" if value == right else f"FAILED: not {right}"))

    @property
    def failed(self) -> bool:
        """Whether one has another."""
        return any(verdict.startswith("FAILED") for *_, verdict in self.rows)

    def __str__(self) -> str:
        head = "| what | found | |\n| --- | ---: | --- |\n"
        return head + "\n".join(f"| {what} | {value} | {verdict} |" for what, value, verdict in self.rows)


def check(cluster: Cluster, wall_s: float, scratch: Path) -> Findings:
    """Compares what is on disk with what should be."""
    found, seen = Findings(), cluster.counts
    trainings = [work for work in cluster.works if work.trains]
    evaluations = [work for work in cluster.works if not work.trains]
    interrupted = ("preempted", "hurried", "node", "writing", "written", "out of memory", "failing")
    found.tell("runs: trainings + evaluations", f"{len(trainings)} + {len(evaluations)}")
    found.tell("processes started", seen["processes"])
    found.tell("of them interrupted", sum(seen[way] for way in interrupted))
    found.tell("- SIGTERM; SIGTERM, at once SIGKILL", f"{seen['preempted']}; {seen['hurried']}")
    found.tell("- SIGKILL: node fails; counts as failure", f"{seen['node']}; {seen['out of memory']}")
    found.tell("- SIGKILL while writing; just after", f"{seen['writing']}; {seen['written']}")
    found.tell("- errors of their own", seen["failing"])
    found.tell(
        "jobs that failed for good; whose need did",
        f"{seen['jobs that failed for good']}; {seen['jobs whose need failed']}",
    )
    found.tell(
        "commands typed; killed; that found the queue full",
        "; ".join(str(seen[key]) for key in ("commands", "commands killed", "commands that found the queue full")),
    )
    found.tell(
        "arrays refused; accepted; jobs in them", f"{seen['refusals']}; {seen['arrays']}; {seen['jobs submitted']}"
    )
    found.expect("ends that nothing explains", seen["unexpected"], 0)
    found.expect("jobs submitted though queued or running", seen["duplicates of what is queued"], 0)
    found.expect("jobs submitted though done", seen["duplicates of what is done"], 0)
    found.expect("runs computed by two processes at once", seen["together"], 0)
    found.expect(
        "runs complete", sum(is_full(cluster.results, work.makes) for work in cluster.works), len(cluster.works)
    )
    states = counts(job_states(cluster.results))
    found.expect(
        "done, as avbench status has it",
        f"{states['done']} of {sum(states.values())}",
        f"{len(cluster.works)} of {len(cluster.works)}",
    )
    _check_records(found, cluster, evaluations)
    _check_trainings(found, cluster, trainings)
    _check_weights(found, cluster, trainings, scratch)
    found.tell("temporary files and folders that kills left", len(list(cluster.results.rglob(".*.tmp"))))
    found.tell("wall time, s", round(wall_s, 1))
    return found


def _check_records(found: Findings, cluster: Cluster, evaluations: Sequence[Work]) -> None:
    torn, wrong, again, twice = 0, 0, 0, 0
    for work in evaluations:
        weights = cluster.results / "stages" / "pretrain" / work.source / WEIGHTS
        try:
            record = read_record(cluster.results, work.id)
            rows = read_per_sample(cluster.results, work.id)
        except AvbenchError:
            record = None
        if record is None or len(rows["score"]) != record["n"] or digest(rows["score"]) != record["per_sample_sha256"]:
            torn += 1
        elif record["weights_sha256"] != sha256_file(weights) or digest(scores(work, weights)) != digest(rows["score"]):
            wrong += 1
        words = [word for _, word, _ in Diary(cluster.diaries, work).lines()]
        again += max(0, words.count("begun") - 1)
        twice += max(0, words.count("wrote") - 1) + (
            "begun" in words[words.index("wrote") :] if "wrote" in words else 0
        )
    found.expect("records readable", len(list(all_records(cluster.results))), len(evaluations))
    found.expect("records lost or torn", torn, 0)
    found.expect("records of other weights than the final ones", wrong, 0)
    found.tell("evaluations begun again after a kill", again)
    found.expect("evaluations computed again after their record", twice, 0)


def _check_trainings(found: Findings, cluster: Cluster, trainings: Sequence[Work]) -> None:
    """Explains every step that was computed by how the process before it ended."""
    computed, unexplained, rows_wrong = 0, 0, 0
    repeated: Counter[str] = Counter()
    most = 0
    for work in trainings:
        made: dict[int, list[int]] = {}
        for session, word, step in Diary(cluster.diaries, work).lines():
            if word == "step":
                made.setdefault(session, []).append(step)
        done = 0  # steps that are safe when a process begins
        for session in cluster.sessions[work.id]:
            steps = made.pop(session.number, [])
            computed += len(steps)
            unexplained += steps != list(range(done + 1, done + 1 + len(steps)))
            lost = (steps[-1] if steps else done) - session.checkpoint
            repeated[session.ended] += lost
            most = max(most, lost)
            done = session.checkpoint
        unexplained += len(made) + (done != STEPS)
        with (cluster.results / work.makes / "metrics.csv").open() as handle:
            rows = [int(row["step"]) for row in csv.DictReader(handle)]
        rows_wrong += rows != list(range(LOG_EVERY, STEPS + 1, LOG_EVERY))
    needed = len(trainings) * STEPS
    found.tell("steps needed; computed", f"{needed}; {computed}")
    found.expect("steps computed twice after SIGTERM, or the end", repeated["stopped"] + repeated["done"], 0)
    found.tell(
        "steps since the last checkpoint, lost to SIGKILL; errors", f"{repeated['killed']}; {repeated['failed']}"
    )
    found.tell("- most at once", most)
    found.expect("steps beyond these", computed - needed - sum(repeated.values()), 0)
    found.expect("processes that did not go on at the very step", unexplained, 0)
    found.expect("metrics.csv with rows missing, twice or torn", rows_wrong, 0)


def _check_weights(found: Findings, cluster: Cluster, trainings: Sequence[Work], scratch: Path) -> None:
    """Makes some trainings again, undisturbed."""
    chosen = sorted(trainings, key=lambda work: -len(cluster.sessions[work.id]))[:_SAMPLE]
    differ, histories = 0, 0
    for work in chosen:
        with forked() as process:
            if process == 0:
                pretrain(work, scratch, Diary(scratch, work), pause=0.0)
        os.waitpid(process, 0)
        one, other = cluster.results / work.makes, scratch / work.makes
        differ += sha256_file(one / WEIGHTS) != sha256_file(other / WEIGHTS)
        histories += _history(one / "metrics.csv") != _history(other / "metrics.csv")
        differ += newest_checkpoint(one) != STEPS
    sessions = len(cluster.sessions[chosen[0].id])
    found.tell("trainings compared with undisturbed ones; most processes of one", f"{len(chosen)}; {sessions}")
    found.expect("- other weights, by bits", differ, 0)
    found.expect("- other losses in metrics.csv", histories, 0)


def _history(path: Path) -> list[dict[str, str]]:
    with path.open() as handle:
        return [{key: value for key, value in row.items() if key not in _TIMES} for row in csv.DictReader(handle)]
