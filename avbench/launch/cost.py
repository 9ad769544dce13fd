"""What runs cost, in device-hours: before, from what like ones took in the same results folder, and after."""

from __future__ import annotations

import functools
import heapq
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from avbench import registry
from avbench.errors import InputError
from avbench.files import canonical_json
from avbench.running.identity import training_steps
from avbench.settings import to_dict
from avbench.store import index, seal
from avbench.store.records import stage_folder

if TYPE_CHECKING:
    from avbench.config import InputConfig, ModelConfig, RunConfig
    from avbench.data.corpus.clips import Clips
    from avbench.running.identity import Stage
    from avbench.running.plan import Plan
    from avbench.store.rows import Row

log = logging.getLogger("avbench")
_LATEST = 500  # records and trainings that are looked at


class Costs:
    """What stages took in a results folder.

    A pretraining is judged by device-seconds a clip and step of those of the same method and model; of another method,
    if there are none, by the FLOPs of both. An evaluation, with the extraction it needs, by the mean of the same task
    and model, of the same method where there are any.

    Args:
        results: The results folder.
    """

    def __init__(self, results: Path) -> None:
        self._rates: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self._tasks: dict[tuple[str, str], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        self._flops: dict[tuple[str, ModelConfig, InputConfig], float | None] = {}
        for done in _trainings(results):
            self._add_training(done)
        for row in heapq.nlargest(_LATEST, index.read(results).rows, key=lambda row: row.changed):
            self._add_evaluation(row)

    def _add_training(self, done: Mapping[str, Any]) -> None:
        key, steps = done.get("key", {}), done.get("steps", 0)
        if not steps or not done.get("wall_s"):
            return
        try:
            batch = key["train"]["batch_size"]
            model = _model(key["model"], key["precision"])
            self._rates[model][key["method"]].append(device_seconds(done) / (steps * batch))
        except (KeyError, TypeError, ValueError, ZeroDivisionError):
            log.warning("pretraining %s: its done.json is not what a stage writes; left out", done.get("id"))

    def _add_evaluation(self, row: Row) -> None:
        settings = row.config.settings
        if "given" in settings or not {"model", "encoder"} & set(settings):  # of a file: nothing was embedded
            return
        seconds = sum(value for stage, value in row.spent.get("wall_s", {}).items() if stage != "pretrain")
        model = _model(settings.get("model") or {"encoder": row.method}, row.precision)
        self._tasks[row.task, model][row.method].append(seconds)

    def pretraining(self, config: RunConfig, steps: int) -> float | None:
        """Returns the device-hours of a pretraining; None where nothing like it was measured."""
        rates = self._rates.get(_model_of(config.model, config.precision), {})
        clips = steps * config.train.batch_size
        if config.method_name in rates:
            return fmean(rates[config.method_name]) * clips / 3600
        own = self._step_flops(config.method_name, config) if rates else None
        others = [
            fmean(found) * own / flops
            for method, found in rates.items()
            if own and (flops := self._step_flops(method, config))
        ]
        return fmean(others) * clips / 3600 if others else None

    def task(self, config: RunConfig) -> float | None:
        """Returns the device-hours of an evaluation with its extraction; None where nothing like it was measured."""
        entry, model = registry.find("method", config.method_name), _model_of(config.model, config.precision)
        if entry.encoder:
            model = _model({"encoder": entry.shown}, config.precision)
        found = self._tasks.get((config.task_name, model), {})
        if config.method_name in found:
            return fmean(found[config.method_name]) / 3600
        return fmean(value for values in found.values() for value in values) / 3600 if found else None

    def _step_flops(self, method: str, config: RunConfig) -> float | None:
        """Returns the FLOPs of a clip and step of a method as it is without settings; None of another package's."""
        key = (method, config.model, config.input)
        if key not in self._flops:
            from avbench.bench.flops import blueprint, step_flops
            from avbench.errors import AvbenchError

            try:
                options = registry.find("method", method).config_class()
                model = blueprint(method, options, config.model, config.input)
                self._flops[key] = step_flops(model, config.train.batch_size).step
            except AvbenchError:
                self._flops[key] = None
        return self._flops[key]


class Bill:
    """Adds up the device-hours of planned stages, each once.

    Args:
        costs: What was measured.
        force: What is done is computed again.
    """

    def __init__(self, costs: Costs, *, force: bool = False) -> None:
        self._costs = costs
        self._force = force
        self._uncounted = 0
        self._stages: dict[str, _Estimate] = {}

    def add(self, plan: Plan) -> None:
        """Adds the stages of a run that are not done; beside trained weights, the untrained model is evaluated, too."""
        for each in (plan, *plan.variants):
            if each.pretrain is not None and each.train is not None:
                self.add_pretraining(each.config, each.pretrain, each.train)
        if self._force or not plan.evaluation.done:
            hours = self._costs.task(plan.config)
            models = 2 if plan.pretrain is not None else 1
            self._note(plan.evaluation, "evaluations", hours, models)

    def add_pretraining(self, config: RunConfig, stage: Stage, train: Clips) -> None:
        """Adds a pretraining on the clips of the training split, unless it is done.

        Args:
            config: The run.
            stage: Its pretraining.
            train: The clips it trains on.
        """
        if self._force or not stage.done:
            self._note(stage, "pretrainings", self._costs.pretraining(config, training_steps(config, len(train))))

    def add_unknown(self) -> None:
        """Adds a run whose stages cannot be told yet, as its clips or initial weights are not there."""
        self._uncounted += 1

    def hours(self, stage: str) -> float | None:
        """Returns what a stage was estimated to take, by its id."""
        return self._stages[stage].hours if stage in self._stages else None

    def _note(self, stage: Stage, kind: str, hours: float | None, times: int = 1) -> None:
        self._stages[stage.id] = _Estimate(kind, hours, times)

    def __str__(self) -> str:
        """Returns the sum as one line."""
        parts, total = [], 0.0
        for kind in ("pretrainings", "evaluations"):
            found = [each for each in self._stages.values() if each.kind == kind]
            hours = sum(each.times * each.hours for each in found if each.hours is not None)
            total += hours
            if found:
                parts.append(f"{sum(each.times for each in found)} {kind}" + (f" {hours:.2f}" if hours else ""))
        unknown = sum(each.times for each in self._stages.values() if each.hours is None)
        runs = "1 run" if self._uncounted == 1 else f"{self._uncounted} runs"
        later = f"{runs} whose clips or initial weights are not there yet" if self._uncounted else ""
        if not parts:
            return f"cost: unknown for {later}" if later else "cost: nothing to compute"
        later = later and f"; without {later}"
        if not total:
            return f"cost: {', '.join(parts)}; unknown, as these results have no measured cost for them{later}"
        rest = f"; {unknown} of them unknown, as these results have no measured cost for them" if unknown else ""
        return f"cost: about {total:.2f} device-hours ({', '.join(parts)}){rest}{later}"


@dataclass(frozen=True)
class _Estimate:
    kind: str
    hours: float | None
    times: int


def device_seconds(done: Mapping[str, Any]) -> float:
    """Returns the device-seconds of a stage that is done: its wall time in every process."""
    return float(done["wall_s"]) * int(done.get("processes", 1))


def spent(results: Path, run_ids: Iterable[str]) -> float:
    """Returns the device-hours behind records, what several share counted once."""
    seconds: dict[str, float] = {}
    known = {row.id: row for row in index.read(results).rows}
    for row in (known[run_id] for run_id in dict.fromkeys(run_ids) if run_id in known):
        stages, wall = row.spent.get("stages", {}), row.spent["wall_s"]
        seconds[row.id] = sum(value for name, value in wall.items() if name not in stages)
        for name, ids in stages.items():
            for stage_id in ids:
                # Stages that were deleted or damaged since are in the record, those of a name together.
                taken = _stage_seconds(stage_folder(results, name, stage_id))
                seconds[stage_id] = wall[name] / len(ids) if taken is None else taken
    return sum(seconds.values()) / 3600


def _stage_seconds(folder: Path) -> float | None:
    """Returns the device-seconds of a stage; None where it does not tell them."""
    if not (folder / seal.DONE).exists():
        return None
    try:
        return device_seconds(seal.read_done(folder))
    except InputError as error:
        log.warning("%s Its seconds are taken from the record.", error)
        return None


@functools.lru_cache(maxsize=256)
def _model_of(model: ModelConfig, precision: str) -> str:
    return _model(to_dict(model), precision)


def _model(model: Mapping[str, Any], precision: str) -> str:
    return canonical_json([dict(model), precision])


def _trainings(results: Path) -> Iterator[dict[str, Any]]:
    """Yields what the latest pretrainings say of themselves."""
    paths = (results / "stages" / "pretrain").glob(f"[!.]*/{seal.DONE}")
    for path in heapq.nlargest(_LATEST, paths, key=lambda path: path.stat().st_mtime):
        try:
            yield seal.read_done(path.parent)
        except InputError as error:
            log.warning("%s Left out.", error)
