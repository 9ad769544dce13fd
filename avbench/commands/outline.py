"""What runs would do, before anything is done: their settings, stages and cost, as text or as data (``--dry-run``)."""

from __future__ import annotations

import gc
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from avbench.data.corpus.pair import Corpus
from avbench.launch.cost import Bill, Costs
from avbench.recipes.initial_weights import MissingWeights
from avbench.running.division import account, training_clips
from avbench.running.identity import Stage, training_steps
from avbench.running.plan import clips_per_contrast, make_plan

if TYPE_CHECKING:
    from avbench.config import RunConfig
    from avbench.data.locate import Source
    from avbench.running.runner import Runner

PRETRAIN = "pretrain"


@dataclass(frozen=True, kw_only=True)
class OutlinedStage:
    """A stage as far as it is known.

    Attributes:
        name: Of the stage.
        id: None where it follows from data or weights that are not here.
        done: Whether it is, and is not to be made again.
        work: What it does.
        hours: Device-hours by what was measured; None: nothing like it was.
    """

    name: str
    id: str | None
    done: bool
    work: str
    hours: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Returns it as JSON values."""
        state = "done" if self.done else "to do"
        return {"name": self.name, "id": self.id, "state": state, "work": self.work, "device_hours": self.hours}


@dataclass(frozen=True, kw_only=True)
class Outline:
    """One run: its settings, its stages in order, and what keeps ids from being known."""

    config: RunConfig
    steps: tuple[OutlinedStage, ...]
    judged: str = ""
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Returns it as JSON values; the clips a contrast are None where nothing is contrasted or trained."""
        clips = clips_per_contrast(self.config) if self.config.weights == "pretrained" else None
        return {
            "method": self.config.method_name,
            "task": self.config.task_name,
            "data": self.config.data.source,
            "eval_data": self.config.data.eval_source or None,
            "judged": self.judged,
            "seed": self.config.seed,
            "clips_per_contrast": clips,
            "negatives": None if clips is None else clips - 1,
            "config": self.config.to_dict(),
            "stages": [step.to_dict() for step in self.steps],
            "note": self.note,
        }

    def lines(self) -> list[str]:
        """Returns it as lines of text."""
        config = self.config
        data = config.data.source + (f", judged on {config.data.eval_source}" if config.data.eval_source else "")
        precision = "" if config.precision == "fp32" else f", {config.precision}"
        lines = [f"{config.method_name} {config.task_name} on {data}, seed {config.seed}{precision}:"]
        if self.judged:
            lines.append(f"  {self.judged}")
        clips = clips_per_contrast(config)
        for step in self.steps:
            contrast = f"{clips} clips a contrast" if step.name == PRETRAIN and clips is not None else ""
            parts = (contrast, "done, reused") if step.done else (step.work, contrast)
            text = ", ".join(filter(None, (*parts, "" if step.hours is None else _span(step.hours))))
            lines.append(f"  {step.name:<9} {f'{step.id}  ' if step.id else ''}{text}")
        return [*lines, f"  {self.note}"] if self.note else lines


def show(
    runner: Runner,
    configs: Sequence[RunConfig],
    form: Literal["table", "json"] = "table",
    *,
    pretraining_only: bool = False,
    summary: bool = False,
) -> str:
    """Returns the plan of every run and its cost; reads, computes and writes nothing else.

    Args:
        runner: Knows the results and the data.
        configs: The runs.
        form: Lines of text, or a JSON list with one object a run.
        pretraining_only: Leave the tasks out.
        summary: Of text, a line for each method and task in place of all runs and stages.
    """
    gc.freeze()  # or the plans of thousands of runs have the libraries' objects searched again and again
    try:
        bill = Bill(Costs(runner.execution.results), force=runner.execution.force)
        found = [_outline(runner, config, bill, pretraining_only=pretraining_only) for config in configs]
        if form == "json":
            return json.dumps([each.to_dict() for each in found], indent=2) + "\n"
        lines = _summary(found) if summary else [line for each in found for line in each.lines()]
        return "\n".join([*lines, str(bill)]) + "\n"
    finally:
        gc.unfreeze()


def _summary(found: Sequence[Outline]) -> list[str]:
    """Returns how many runs there are of each method and task, what is done of them and what is left."""
    from tabulate import tabulate

    rows: dict[tuple[str, ...], list[Outline]] = {}
    for each in found:
        rows.setdefault((each.config.method_name, each.config.task_name, each.config.data.source), []).append(each)
    counted: set[str | None] = set()  # a stage that several runs share is counted where it comes first
    table = []
    for names, runs in rows.items():
        todo = [step for run in runs for step in run.steps if not step.done and step.id not in counted]
        todo = list({step.id or str(number): step for number, step in enumerate(todo)}.values())
        counted |= {step.id for step in todo if step.id}
        twice = any(
            step.name == PRETRAIN for run in runs for step in run.steps
        )  # the untrained model is evaluated, too
        hours = [step.hours * (2 if twice and step.name != PRETRAIN else 1) for step in todo if step.hours is not None]
        done = sum(all(step.done for step in run.steps) for run in runs)
        pretrainings = sum(step.name == PRETRAIN for step in todo)
        table.append((*names, len(runs), done, pretrainings, f"{sum(hours):.2f}" if hours else "" if todo else "0"))
    heads = ("method", "task", "data", "runs", "done", "pretrainings to do", "device-hours")
    notes = dict.fromkeys(f"note: {each.note}" for each in found if each.note)
    return [
        *tabulate(table, headers=heads, disable_numparse=True, colalign=("left",) * 3 + ("right",) * 4).splitlines(),
        *notes,
    ]


def _outline(runner: Runner, config: RunConfig, bill: Bill, *, pretraining_only: bool) -> Outline:
    unready = [source for source in dict.fromkeys(runner.sources(config)) if not source.ready]
    if unready:
        bill.add_unknown()
        note = "ids follow from the prepared clips; run `avbench data prepare` first to see them"
        return Outline(config=config, steps=_unprepared(config, unready), note=note)
    corpus, judged = runner.corpus(config), ""
    try:
        if pretraining_only:
            stage, trained = runner.plan_pretraining(config)
            bill.add_pretraining(config, stage, trained)
            stages: list[Stage] = [stage]
        else:
            plan = make_plan(config, corpus, runner.execution.results, joint=runner.reads_joint(config))
            bill.add(plan)
            runner.warn([plan])
            judged = account(plan.division.selection())
            stages = list(plan.stages)
    except MissingWeights as error:
        bill.add_unknown()
        train, _ = training_clips(config, Corpus.of(corpus))
        step = _pretraining(config, 0 if train is None else len(train))
        return Outline(config=config, steps=(step,), note=f"ids follow from the initial weights: {error}")
    return Outline(
        config=config,
        steps=tuple(
            OutlinedStage(
                name=stage.name,
                id=stage.id,
                done=stage.done and not runner.execution.force,
                work=stage.work,
                hours=bill.hours(stage.id),
            )
            for stage in stages
        ),
        judged=judged,
    )


def _unprepared(config: RunConfig, unready: Sequence[Source]) -> tuple[OutlinedStage, ...]:
    steps = []
    for source in unready:
        expected = f"{sum(source.counts)} clips to make and prepare" if source.counts else "videos to prepare"
        steps.append(OutlinedStage(name="prepare", id=None, done=False, work=f"{expected} into {source.clips}"))
    if config.weights == "pretrained":
        steps.append(_pretraining(config, unready[0].counts[0] if unready[0].counts else 0))
    return tuple(steps)


def _pretraining(config: RunConfig, n_train: int) -> OutlinedStage:
    """Returns what is known of a pretraining without its id."""
    steps = training_steps(config, n_train) if n_train or config.train.steps else "by epochs:"
    return OutlinedStage(name=PRETRAIN, id=None, done=False, work=f"{steps} steps of {config.train.batch_size} clips")


def _span(hours: float) -> str:
    return f"about {hours:.2f} device-hours" if hours >= 1 else f"about {60 * hours:.1f} device-minutes"
