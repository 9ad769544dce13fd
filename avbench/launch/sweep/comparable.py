"""Whether what a sweep judges its trials by can be: metrics that their tasks have, and losses that mean the same."""

from __future__ import annotations

from avbench.errors import InputError, did_you_mean
from avbench.launch.sweep.config import Sweep

# Settings that change what a training loss is: its terms and their weights, what is masked, heard or seen, and how many
# clips a positive is told from.
_CHANGES_LOSS = {
    "pretrain": ("method", "input", "data", "train.batch_size", "train.accumulate", "train.pairing", "train.noise"),
    "classification": (
        *("input", "data", "task.loss", "task.label_smoothing", "task.target", "task.label"),
        *("task.mixup", "task.freq_mask", "task.time_mask", "task.noise", "task.balanced"),
    ),
}
_WEIGHTS = ("method.lambda_c", "method.lambda_r")  # parts of the loss are written before their weights
_SUMS = ("loss", "tuning_loss")
_OPTIONS = ("method", "data", "recipe", "preset")  # of the command: each changes more than one setting


def check_pruner(sweep: Sweep) -> None:
    """Refuses a pruner that compares losses which a varied setting changes: it would stop the better trials.

    Raises:
        InputError: It does.
    """
    pruner = sweep.pruner
    if pruner.name == "none":
        return
    parts = pruner.column not in _SUMS
    changing = (*_OPTIONS, *_CHANGES_LOSS[pruner.stage])
    for parameter in sweep.space:
        for value in parameter.corners():
            for key in parameter.options(value):
                if key in changing or (key.partition(".")[0] in changing and not (parts and key in _WEIGHTS)):
                    fix = ", or a part of the loss as pruner.column" if key in _WEIGHTS else ""
                    raise InputError(
                        f"pruner: found {pruner.name} on the column {pruner.column}, which {key} changes, so that"
                        f" trials cannot be compared by it, valid: pruner: none{fix}."
                    )


def check_metric(task: str, metric: str) -> None:
    """Refuses a metric that a task of this package does not have, as far as its name tells.

    Raises:
        InputError: It is none.
    """
    from avbench import registry
    from avbench.metrics import classification, retrieval, units
    from avbench.tasks.streams import STREAMS

    entry = registry.entries("task").get(task)
    if entry is None or entry.origin != "avbench":
        return
    sides = dict.fromkeys(("linear_probe", "knn"), STREAMS) | {
        "retrieval": retrieval.DIRECTIONS,
        "classification": (*STREAMS, "missing_audio", "missing_visual"),
    }
    if task in sides:
        of_task = retrieval.METRICS if task == "retrieval" else classification.METRICS
        known = [f"{side}/{name}" for side in sides[task] for name in of_task]
        if metric not in known:
            near = did_you_mean(metric, known)
            raise InputError(f"objectives: found the metric '{metric}' of {task}.{near} Valid: {', '.join(known)}.")
        return
    name = metric.rpartition("/")[2]
    if not units.known(name, task):
        names = units.names(task)
        near = did_you_mean(name, names)
        raise InputError(
            f"objectives: found the metric '{metric}' of {task}.{near} Valid: one that ends in {', '.join(names)}."
        )
