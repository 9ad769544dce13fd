"""The driver of a sweep: every trial once, whatever happens to the driver, its jobs or the study's file."""

from __future__ import annotations

import dataclasses
import json
import signal
from pathlib import Path

import pytest
from optuna.trial import TrialState
from sweep_fakes import LAMBDA, FakePool, Killed, World, drive, fakes, settings_of, sweep_of

from avbench.errors import InputError, Stopped
from avbench.launch.sweep import study as studies
from avbench.launch.sweep.file import Changes

__all__ = ["fakes"]
TPE = {"sampler": {"name": "tpe", "startup": 3}, "trials": 6, "space": {LAMBDA: {"float": [0.001, 10], "log": True}}}


def values(study: object) -> dict[float, float]:
    return {trial.params[LAMBDA]: trial.value for trial in study.trials if trial.value is not None}  # type: ignore[attr-defined]


def test_a_grid_is_covered_once_and_seeds_are_averaged(fakes: World) -> None:
    sweep = sweep_of(fakes.folder, seeds=[0, 1])
    pool = FakePool(fakes)
    study, failed = drive(sweep, pool)
    assert failed == []
    assert values(study) == pytest.approx({0.01: 0.51, 0.1: 0.6, 1: 1.5})
    assert len(fakes.computed) == len(set(fakes.computed)) == 6
    assert pool.most == 2
    assert study.trials[0].user_attrs["values"] == {"retrieval a2v/R@1": [0.01, 1.01]}


def test_what_has_records_is_not_computed_again(fakes: World) -> None:
    sweep = sweep_of(fakes.folder)
    drive(sweep, FakePool(fakes))
    other = dataclasses.replace(sweep, name="other")
    pool = FakePool(fakes)
    study, _ = drive(other, pool)
    assert len(values(study)) == 3
    assert pool.batches == []


@pytest.mark.parametrize("kill_after", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("sampler", ["grid", "tpe"])
def test_a_killed_driver_is_taken_up_with_the_same_trials(fakes: World, kill_after: int, sampler: str) -> None:
    sweep = sweep_of(fakes.folder, seeds=[0, 1], **(TPE if sampler == "tpe" else {}))
    with pytest.raises(Killed):
        drive(sweep, FakePool(fakes, kill_after=kill_after))
    study, failed = drive(sweep, FakePool(fakes))
    assert failed == []
    assert [trial.state for trial in study.trials] == [TrialState.COMPLETE] * (6 if sampler == "tpe" else 3)
    assert len(fakes.computed) == len(set(fakes.computed)) == 2 * len(study.trials)
    if sampler == "grid":
        assert set(values(study)) == {0.01, 0.1, 1}


def test_a_torn_line_of_the_journal_costs_that_line(fakes: World) -> None:
    sweep = sweep_of(fakes.folder)
    with pytest.raises(Killed):
        drive(sweep, FakePool(fakes, kill_after=1))
    journal = fakes.folder / "sweeps" / "s" / studies.JOURNAL
    journal.write_bytes(journal.read_bytes()[:-7])
    study, _ = drive(sweep, FakePool(fakes))
    assert set(values(study)) == {0.01, 0.1, 1}
    assert len(fakes.computed) == 3


@pytest.mark.parametrize("kind", ["bit", "nested", "cut"])
def test_a_damaged_line_of_the_journal_changes_no_value(
    fakes: World, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    sweep = sweep_of(fakes.folder, seeds=[0, 1])
    whole, _ = drive(sweep, FakePool(fakes))
    journal = fakes.folder / "sweeps" / "s" / studies.JOURNAL
    text = journal.read_bytes()
    lines = text.splitlines(keepends=True)
    (place, *_) = (number for number, line in enumerate(lines) if b"values" in line)
    changed = {
        "bit": lines[place].replace(b"0.", b"1.", 1).replace(b": 0", b": 1", 1).replace(b":0", b":1", 1),
        "nested": b"[" * 200_000 + b"\n",
        "cut": lines[place][:20] + b"\n",
    }[kind]
    assert changed != lines[place]
    journal.write_bytes(b"".join([*lines[:place], changed, *lines[place + 1 :]]))
    study, failed = drive(sweep, FakePool(fakes))
    assert failed == []
    assert values(study) == values(whole)
    assert len(fakes.computed) == 6  # nothing twice: the records tell
    assert f"line {place + 1} is not what was written" in caplog.text
    assert journal.with_name(f"{journal.name}.damaged").exists()


def test_a_journal_of_an_older_version_is_read(fakes: World) -> None:
    sweep = sweep_of(fakes.folder)
    whole, _ = drive(sweep, FakePool(fakes))
    journal = fakes.folder / "sweeps" / "s" / studies.JOURNAL
    journal.write_bytes(b"".join(line[9:] for line in journal.read_bytes().splitlines(keepends=True)))
    assert journal.read_bytes().startswith(b"{")
    study, _ = drive(sweep, FakePool(fakes))
    assert values(study) == values(whole)
    assert len(study.trials) == len(whole.trials)


def test_a_damaged_description_is_refused_with_the_fix(fakes: World) -> None:
    sweep = sweep_of(fakes.folder)
    drive(sweep, FakePool(fakes))
    (fakes.folder / "sweeps" / "s" / studies.DESCRIPTION).write_text("{}x")
    with pytest.raises(InputError, match="delete it if it is"):
        studies.check_unchanged(sweep, fakes.folder / "sweeps" / "s")


def test_tpe_is_a_function_of_its_seed(fakes: World, tmp_path: Path) -> None:
    found = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        sweep = sweep_of(
            tmp_path, Changes(name=name), **{**TPE, "sampler": {"name": "tpe", "startup": 3, "seed": seed}}
        )
        study, _ = drive(sweep, FakePool(fakes, slots=1))
        found.append([trial.params[LAMBDA] for trial in study.trials])
    assert found[0] == found[1] != found[2]
    assert len(set(found[0])) == 6


def test_random_draws_do_not_repeat_after_a_kill(fakes: World) -> None:
    sweep = sweep_of(fakes.folder, **{**TPE, "sampler": "random"})
    assert [params[LAMBDA] for params in studies.suggestions(sweep)] == sorted(
        {params[LAMBDA] for params in studies.suggestions(sweep)},
        key=[params[LAMBDA] for params in studies.suggestions(sweep)].index,
    )
    with pytest.raises(Killed):
        drive(sweep, FakePool(fakes, kill_after=2))
    study, _ = drive(sweep, FakePool(fakes))
    assert [trial.params for trial in study.trials] == studies.suggestions(sweep)


def test_a_failed_trial_is_told_with_its_log_and_retried_by_the_same_command(fakes: World) -> None:
    sweep = sweep_of(fakes.folder, seeds=[0, 1])
    fakes.fails = lambda settings, seed: settings[LAMBDA] == "0.1" and seed == 1
    study, failed = drive(sweep, FakePool(fakes))
    assert set(values(study)) == {0.01, 1}
    (text,) = failed
    assert "trial 1 (method.lambda_c=0.1): seed 1: no room See " in text
    assert text.endswith("s-1-seed1.log")
    fakes.fails = lambda settings, seed: False
    study, failed = drive(sweep, FakePool(fakes))
    assert failed == []
    assert set(values(study)) == {0.01, 0.1, 1}
    assert len(fakes.computed) == len(set(fakes.computed)) == 6


def test_a_job_that_leaves_no_record_is_a_failure_not_a_loop(fakes: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("avbench.launch.planner.records", lambda step, runner: [None])
    _, failed = drive(sweep_of(fakes.folder), FakePool(fakes))
    assert len(failed) == 3
    assert "left no result: avbench run " in failed[0]


def test_a_metric_that_records_lack_is_named(fakes: World) -> None:
    _, failed = drive(sweep_of(fakes.folder, objectives={"retrieval a2v/R@5": "maximize"}), FakePool(fakes))
    assert "no such metric, valid: a2v/R@1, a2v/mean_rank." in failed[0]


def test_pruning_stops_the_job_of_a_bad_trial(fakes: World) -> None:
    sweep = sweep_of(
        fakes.folder,
        space={LAMBDA: [1, 2, 3, 9, 4]},
        pruner={"name": "median", "column": "contrast", "startup": 3, "warmup": 15},
        seeds=[0, 1],
    )
    fakes.course = lambda settings: [float(settings[LAMBDA]) / step for step in (1, 2, 3)]  # a loss
    lines: list[str] = []
    pool = FakePool(fakes, slots=1)
    study, failed = drive(sweep, pool, lines)
    assert failed == []
    states = {trial.params[LAMBDA]: trial.state.name for trial in study.trials}
    assert states == {1: "COMPLETE", 2: "COMPLETE", 3: "COMPLETE", 9: "PRUNED", 4: "PRUNED"}
    assert [settings_of(job.arguments)[LAMBDA] for job in pool.stopped] == ["9", "4"]
    assert study.trials[3].user_attrs["pruned_at"] == 20
    assert any("pruned at step 20" in line for line in lines)
    noted = [json.loads(path.read_text()) for path in sorted(fakes.folder.rglob("pruned.json"))]
    assert [(note["trial"], note["step"]) for note in noted] == [(4, 20), (3, 20)]
    assert all(settings_of(words)[LAMBDA] != "9" for words in fakes.computed)
    # The same command does not run it again.
    study, _ = drive(sweep, FakePool(fakes))
    assert len(study.trials) == 5


def test_a_column_that_is_not_there_is_said_and_nothing_is_pruned(fakes: World) -> None:
    sweep = sweep_of(fakes.folder, pruner={"name": "median", "column": "lost"})
    fakes.course = lambda settings: [1.0]
    lines: list[str] = []
    study, _ = drive(sweep, FakePool(fakes), lines)
    assert len(values(study)) == 3
    assert any("pruner.column: found lost, valid: contrast" in line for line in lines)


def test_several_objectives(fakes: World) -> None:
    sweep = sweep_of(fakes.folder, objectives={"retrieval a2v/R@1": "maximize", "retrieval a2v/mean_rank": "minimize"})
    study, _ = drive(sweep, FakePool(fakes))
    assert [trial.values for trial in study.trials] == [[0.01, 1.0], [0.1, 1.0], [1.0, 1.0]]


def test_trials_with_the_same_command_share_its_job(fakes: World) -> None:
    sweep = sweep_of(fakes.folder, space={"which": {"choices": {"a": {LAMBDA: 1}, "b": {LAMBDA: 1}, "c": {LAMBDA: 2}}}})
    study, _ = drive(sweep, FakePool(fakes, slots=3))
    assert [trial.value for trial in study.trials] == [1, 1, 2]
    assert len(fakes.computed) == 2


def test_a_signal_closes_the_pool_and_the_trials_go_on_later(fakes: World) -> None:
    sweep = sweep_of(fakes.folder)

    class Interrupted(FakePool):
        def ended(self) -> list:  # type: ignore[type-arg]
            signal.raise_signal(signal.SIGTERM)
            return super().ended()

    pool = Interrupted(fakes)
    with pytest.raises(Stopped) as stopped:
        drive(sweep, pool)
    assert stopped.value.signal_number == signal.SIGTERM
    assert pool.running == {}
    study, _ = drive(sweep, FakePool(fakes))
    assert len(values(study)) == len(study.trials) == 3


@pytest.mark.parametrize("change", [{"space": {LAMBDA: [0.01, 0.1]}}, {"seeds": [3]}, {"set": {"train.lr": 0.1}}])
def test_a_changed_file_is_refused_with_what_differs(fakes: World, change: dict[str, object]) -> None:
    drive(sweep_of(fakes.folder), FakePool(fakes))
    with pytest.raises(InputError, match=f"{next(iter(change))}: .* before, .* now.*--name NAME"):
        drive(sweep_of(fakes.folder, **change), FakePool(fakes))


def test_more_trials_and_other_parallel_jobs_go_on(fakes: World) -> None:
    drive(sweep_of(fakes.folder, **{**TPE, "trials": 2}), FakePool(fakes))
    study, _ = drive(sweep_of(fakes.folder, **{**TPE, "trials": 4, "parallel": 1}), FakePool(fakes))
    assert len(values(study)) == 4
