"""A method with its weights: built, checked against the files named, loaded."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avbench import registry
from avbench.config import FinetuneConfig, RunConfig
from avbench.running import encoded
from avbench.running.identity import Pretraining, Stage

if TYPE_CHECKING:
    from avbench.encoders.judged import Judged
    from avbench.methods.base import Method


def build(config: RunConfig) -> Method:
    """Returns the method with freshly drawn weights, a function of the seed."""
    module = registry.find("method", config.method_name).load()
    method: Method = module.METHOD(config.method, config.model, config.input, seed=config.seed)
    return method


def weights_file(config: RunConfig, stages: Iterable[Stage]) -> Path | None:
    """Returns the weights of a run: of the pretraining among some stages, or its checkpoint; None: the first ones."""
    from avbench.training.session import WEIGHTS

    return next((stage.folder / WEIGHTS for stage in stages if isinstance(stage, Pretraining)), config.checkpoint)


def load(config: RunConfig, stages: Iterable[Stage], device: str) -> Judged:
    """Returns what a run judges, with its weights, likewise; see :func:`load_method`.

    Args:
        config: The run.
        stages: As for :func:`load_method`; none: for weights that are about to replace those of a pretraining.
        device: ``cpu`` or ``cuda``.
    """
    if registry.find("method", config.method_name).encoder:
        from avbench.encoders.adapted import Adapted

        return Adapted(config, device)
    from avbench.encoders.of_method import OfMethod

    return OfMethod(load_method(config, stages, device), config, device)


def load_method(config: RunConfig, stages: Iterable[Stage], device: str) -> Method:
    """Returns a method with its weights, a new object, in evaluation mode on a device.

    Args:
        config: The run.
        stages: Those that are done; a pretraining among them made the weights.
        device: ``cpu`` or ``cuda``.

    Raises:
        InputError: The weights do not fit the model.
    """
    from avbench.training.checkpoints import load_weights

    weights = weights_file(config, stages)
    method = build(config)
    if weights is not None:
        load_weights(method, weights)
    return method.to(device).eval()


def check(config: RunConfig, *, planning: bool = False) -> None:
    """Checks that the model can be built and that the weights named fit it; nothing is allocated or computed.

    Args:
        config: The run.
        planning: Initial weights that are known by name need not be here.

    Raises:
        InputError: Sizes that do not fit each other, or weights that do not fit the model.
    """
    import torch

    from avbench.training.checkpoints import load_weights
    from avbench.training.weights_file import read_state

    if config.weights == encoded.GIVEN:
        return  # it was built to be asked what it hears; it reads its weights itself, when it is used
    with torch.device("meta"):
        method = build(config)
    if config.checkpoint is not None:
        load_weights(method, config.checkpoint)
    if isinstance(config.task, FinetuneConfig) and config.task.weights:
        read_state(Path(config.task.weights))  # whether they fit depends on the classes of the data
    if config.train.init and config.weights == "pretrained":  # a preset says what a checkpoint started from, too
        from avbench.recipes.initial_weights import MissingWeights
        from avbench.training.initialization import initialise_from

        with contextlib.suppress(*((MissingWeights,) if planning else ())):
            initialise_from(method, config.train.init, **init_options(config))


def init_options(config: RunConfig) -> dict[str, Any]:
    """Returns which keys may differ between the model and the weights that training starts from."""
    train = config.train
    return {
        "allow_missing": train.init_missing,
        "allow_unexpected": train.init_unexpected,
        "resize_positions": train.init_resize,
    }
