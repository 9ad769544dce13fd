"""Which runs their data can give: planned, and refused or left out, before anything is computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from avbench import registry
from avbench.config import RunConfig
from avbench.errors import InputError
from avbench.recipes.initial_weights import MissingWeights

if TYPE_CHECKING:
    from avbench.running.runner import Runner


def possible(
    runner: Runner, configs: Sequence[RunConfig], *, planning: bool = False, lenient: bool = False
) -> tuple[list[RunConfig], list[str]]:
    """Returns the runs that the data can give, preparing them, and of the others in one line each why not.

    Args:
        runner: Plans them.
        configs: The runs.
        planning: Nothing will be done: what is not prepared stays so, and its runs are taken to be possible. Where none
            may be left out, neither are they planned here: whoever tells the plan is refused it there.
        lenient: Leave runs out; else the first that cannot be done is an error.

    Raises:
        InputError: A run cannot be done, or none of them can; nothing was computed.
    """
    fit: list[RunConfig] = []
    left_out: dict[str, None] = {}
    for config in configs:
        try:
            registry.find("task", config.task_name).load().TASK.check(config)
            if not planning or (lenient and all(source.ready for source in runner.sources(config))):
                runner.plans(config, with_untrained=False)
        except MissingWeights:
            if not planning:
                raise
        except InputError as error:
            if not lenient:
                raise
            left_out[f"{config.method_name} {config.task_name}: {error}"] = None
            continue
        fit.append(config)
    if configs and not fit:
        raise InputError(f"found nothing that can be done: {' '.join(left_out)}")
    return fit, list(left_out)
