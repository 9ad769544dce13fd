"""How jobs become arrays that wait for each other, on a scheduler that only takes notes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from avbench.errors import InputError, RunError
from avbench.launch import queue, slurm
from avbench.launch.job import Job
from avbench.launch.profile import Profile
from avbench.launch.slurm import Array, Submitted, submit

PROFILE = Profile()


class Notes:
    """Stands where sbatch is called: what was submitted, with room for so many jobs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, largest: int = 1000, room: int = 10**6) -> None:
        self.calls: list[tuple[list[str], list[str]]] = []
        self.room = room
        self.refusal = "QOSMaxSubmitJobPerUserLimit"
        self.known: dict[str, str] = {}
        monkeypatch.setattr(queue, "largest_array", lambda: largest)
        monkeypatch.setattr(slurm, "active", lambda results: self.known)
        monkeypatch.setattr(slurm, "_submit_array", self._take)

    def _take(self, jobs: Sequence[Job], profile: Profile, results: Path, waits: Sequence[str]) -> Array:
        if len(jobs) > self.room:
            raise slurm._Refused(self.refusal)
        self.room -= len(jobs)
        self.calls.append(([job.name for job in jobs], list(waits)))
        return Array(str(len(self.calls)), tuple(jobs), tuple(wait.partition(":")[2] for wait in waits))


def grid(methods: Sequence[str], tasks: dict[str, Sequence[str]]) -> list[Job]:
    """A pretraining a method, and each of its tasks after it."""
    jobs = [Job(f"{m} pretrain", "pretrain", (m,), (f"p/{m}",), together=True) for m in methods]
    jobs += [Job(f"{m} {t}", t, (m, t), (f"{t}/{m}",), (f"p/{m}",)) for t, ms in tasks.items() for m in ms]
    return jobs


def test_the_nth_evaluation_waits_for_the_nth_pretraining_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    notes = Notes(monkeypatch)
    outcome = submit(grid("abc", {"x": "abc", "y": "bc"}), PROFILE, tmp_path)
    assert notes.calls == [
        (["a pretrain"], []),
        (["b pretrain", "c pretrain"], []),
        (["a x"], ["afterok:1"]),
        (["b x", "c x"], ["aftercorr:2"]),
        (["b y", "c y"], ["aftercorr:2"]),
    ]
    assert outcome.left == []


def test_arrays_are_divided_where_the_cluster_bounds_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    notes = Notes(monkeypatch, largest=2)
    submit(grid("abcde", {"x": "abcde"}), PROFILE, tmp_path)
    assert notes.calls == [
        (["a pretrain", "b pretrain"], []),
        (["c pretrain", "d pretrain"], []),
        (["e pretrain"], []),
        (["a x", "b x"], ["aftercorr:1"]),
        (["c x", "d x"], ["aftercorr:2"]),
        (["e x"], ["afterok:3"]),
    ]


def test_ten_thousand_runs_take_few_calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    notes = Notes(monkeypatch)
    names = [str(i) for i in range(2500)]
    submit(grid(names, {"x": names, "y": names, "z": names}), PROFILE, tmp_path)
    assert sum(len(names) for names, _ in notes.calls) == 10_000
    assert len(notes.calls) == 12


def test_what_waits_or_runs_is_not_submitted_again_but_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    notes = Notes(monkeypatch)
    notes.known = {"p/a": "77_0", "p/b": "77_1", "x/b": "80"}
    outcome = submit(grid("abc", {"x": "abc"}), PROFILE, tmp_path)
    assert notes.calls[0] == (["c pretrain"], [])
    assert (["a x"], ["afterok:77_0"]) in notes.calls
    assert [job.name for job in outcome.known] == ["a pretrain", "b pretrain", "b x"]


def test_a_full_queue_gets_what_it_has_room_for_and_nothing_that_waits_for_the_rest(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    notes = Notes(monkeypatch, room=3)
    outcome = submit(grid("abcd", {"x": "abcd"}), PROFILE, tmp_path)
    assert [name for names, _ in notes.calls for name in names] == ["a pretrain", "b pretrain", "c pretrain"]
    assert len(outcome.left) == 5
    assert "QOSMaxSubmitJobPerUserLimit" in outcome.refusal
    notes = Notes(monkeypatch, room=6)
    outcome = submit(grid("abcd", {"x": "abcd"}), PROFILE, tmp_path)
    assert notes.calls[-1] == (["a x", "b x"], ["afterok:1"])  # a cut array cannot wait job by job
    assert [job.name for job in outcome.left] == ["c x", "d x"]


def test_another_refusal_is_told_as_such(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    notes = Notes(monkeypatch, room=0)
    notes.refusal = "Invalid qos specification"
    with pytest.raises(InputError, match=r"sbatch refused the job: Invalid qos.*Nothing was submitted"):
        submit(grid("a", {}), PROFILE, tmp_path)
    notes.room = 1
    with pytest.raises(RunError, match=r"what was submitted before stays"):
        submit(grid("a", {"x": "a"}), PROFILE, tmp_path)


def test_needs_that_nobody_fills_are_taken_as_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    notes = Notes(monkeypatch)
    outcome: Submitted = submit([Job("x", "x", ("x",), ("x/a",), ("p/a",))], PROFILE, tmp_path)
    assert notes.calls == [(["x"], [])]
    assert outcome.arrays[0].job(0) == "1"


def test_commands_can_be_waited_for_as_folders_can(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    notes = Notes(monkeypatch)
    parts = [Job(f"part {i}", "part", ("prepare", "--part", str(i))) for i in range(3)]
    last = Job("finish", "data", ("prepare",), ("out",), tuple(part.command for part in parts))
    submit([*parts, last], PROFILE, tmp_path)
    assert notes.calls == [(["part 0", "part 1", "part 2"], []), (["finish"], ["afterok:1"])]


def test_what_ended_since_it_was_planned_is_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    notes = Notes(monkeypatch)
    jobs = grid("ab", {"x": "ab"})
    (tmp_path / "p" / "a").mkdir(parents=True)
    (tmp_path / "p" / "a" / "done.json").write_text("{}")
    submit(jobs, PROFILE, tmp_path)
    assert "a pretrain" not in [name for names, _ in notes.calls for name in names]
    assert (["a x"], []) in notes.calls
