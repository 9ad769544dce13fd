"""The Optuna study of a sweep: its storage, its sampler, and trials that outlive their driver.

The storage is a journal, RESULTS/sweeps/NAME/journal.log, that the driver alone opens; whoever would be second is
refused by a lock. Suggestions are functions of the seed, the trial's number and the trials that ended before it, so
that a restarted driver continues as the first would have.
"""

from __future__ import annotations

import dataclasses
import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avbench.errors import InputError
from avbench.files import Damaged, canonical_json, read_json, write_sealed
from avbench.launch.sweep.config import Params, PrunerConfig, SamplerConfig, Sweep
from avbench.rng import stream_seed

if TYPE_CHECKING:
    import optuna

JOURNAL, DESCRIPTION = "journal.log", "sweep.json"
_FREE = ("summary", "source", "parallel", "trials", "name")  # what may change between drivers


def describe(sweep: Sweep) -> dict[str, Any]:
    """Returns all that decides a sweep's numbers, as JSON values."""
    described = {key: value for key, value in dataclasses.asdict(sweep).items() if key not in _FREE}
    found: dict[str, Any] = json.loads(json.dumps(described))
    return found


def check_unchanged(sweep: Sweep, folder: Path) -> None:
    """Compares a sweep with that which the folder holds, and writes it down where there is none.

    Raises:
        InputError: It is another one.
    """
    path, described = folder / DESCRIPTION, describe(sweep)
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_sealed(path, described)
        return
    try:
        before = read_json(path)
    except Damaged as damage:
        raise InputError(
            f"{damage} It tells whether this is the same sweep: delete it if it is; --name NAME begins another one,"
            " which uses what is computed already."
        ) from None
    changed = [
        f"{key}: {canonical_json(before.get(key))} before, {canonical_json(described.get(key))} now"
        for key in sorted({*before, *described})
        if (before.get(key) or None) != (described.get(key) or None)  # a key of before that said nothing
    ]
    if changed:
        raise InputError(
            f"{folder}: holds a sweep with other settings ({'; '.join(changed)}), valid: the same; --name NAME begins"
            " another one, which uses what is computed already."
        )


def open_study(sweep: Sweep, folder: Path | None) -> optuna.Study:
    """Opens a sweep's study, or makes it.

    Args:
        sweep: The sweep.
        folder: Where its journal is; None: in memory, to look at what would be suggested.
    """
    import optuna
    from optuna.storages import InMemoryStorage, JournalStorage

    from avbench.launch.sweep.journal import Journal

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage: optuna.storages.BaseStorage = InMemoryStorage()
    if folder is not None:
        storage = JournalStorage(Journal(folder / JOURNAL))
    return optuna.create_study(
        storage=storage,
        study_name=sweep.name,
        directions=[objective.direction for objective in sweep.objectives],
        pruner=_pruner(sweep.pruner),
        load_if_exists=True,
    )


def ask(study: optuna.Study, sweep: Sweep) -> optuna.Trial:
    """Begins the next trial: one that waits, else one that the sampler suggests."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # constant_liar is called experimental
        study.sampler = _sampler(sweep.sampler, len(study.get_trials(deepcopy=False)))
        return study.ask({parameter.key: parameter.distribution() for parameter in sweep.space})


def take_up(study: optuna.Study, sweep: Sweep) -> list[optuna.Trial]:
    """Makes a study ready to resume, and returns the trials that a driver left running.

    Trials of a grid, and those that failed, wait to be asked for.
    """
    import optuna
    from optuna.trial import TrialState

    running = []
    for frozen in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if all(parameter.key in frozen.params for parameter in sweep.space):
            running.append(optuna.Trial(study, frozen._trial_id))
        else:  # its driver ended before it was drawn; a fixed one is asked for again
            study.tell(frozen.number, state=TrialState.FAIL)
    trials = study.get_trials(deepcopy=False)
    held = [_params(trial) for trial in trials if trial.state != TrialState.FAIL]
    failed = [_params(trial) for trial in trials if trial.state == TrialState.FAIL]
    wanted = (
        sweep.grid()
        if sweep.sampler.name == "grid"
        else [params for params in failed if len(params) == len(sweep.space)]
    )
    for params in wanted:
        if params not in held:
            study.enqueue_trial(params)
            held.append(params)
    return running


def left(study: optuna.Study, sweep: Sweep) -> int:
    """Returns how many trials are still to be asked for; those that failed do not count."""
    from optuna.trial import TrialState

    total = len(sweep.grid()) if sweep.sampler.name == "grid" else sweep.trials
    trials = study.get_trials(deepcopy=False)
    return total - sum(trial.state not in (TrialState.FAIL, TrialState.WAITING) for trial in trials)


def suggestions(sweep: Sweep) -> list[Params]:
    """Returns the parameters of the trials as far as they are known before any is run."""
    if sweep.sampler.name == "grid":
        return sweep.grid()
    study = open_study(sweep, None)
    count = min(sweep.trials, sweep.sampler.startup) if sweep.sampler.name == "tpe" else sweep.trials
    return [dict(ask(study, sweep).params) for _ in range(count)]


def _params(trial: optuna.trial.FrozenTrial) -> Params:
    """Returns a trial's parameters; of one that waits, those that it will be given."""
    return dict(trial.system_attrs.get("fixed_params", {})) or dict(trial.params)


def _sampler(config: SamplerConfig, number: int) -> optuna.samplers.BaseSampler:
    """Returns a sampler for one suggestion."""
    from optuna.samplers import RandomSampler, TPESampler

    seed = stream_seed(config.seed, "sweep", number) % 2**32
    if config.name == "tpe":
        return TPESampler(n_startup_trials=config.startup, seed=seed, constant_liar=True)
    return RandomSampler(seed=seed)


def _pruner(config: PrunerConfig) -> optuna.pruners.BasePruner:
    from optuna.pruners import MedianPruner, NopPruner, SuccessiveHalvingPruner

    if config.name == "median":
        return MedianPruner(n_startup_trials=config.startup, n_warmup_steps=config.warmup)
    if config.name == "halving":
        return SuccessiveHalvingPruner(min_resource=config.least, reduction_factor=config.factor)
    return NopPruner()
