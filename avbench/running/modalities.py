"""Whether method, task and data have the modalities in common that a run needs: asked before anything is computed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from avbench import registry
from avbench.config import HAS, MODALITIES
from avbench.data.corpus.clips import modalities_of
from avbench.errors import InputError

if TYPE_CHECKING:
    from avbench.config import RunConfig
    from avbench.data.corpus.clips import Clips
    from avbench.data.corpus.pair import Corpus


def shared(config: RunConfig, *clips: Clips) -> tuple[str, ...]:
    """Returns the modalities that the method takes and all of some sets of clips have."""
    takes = registry.find("method", config.method_name).card["modalities"]
    return tuple(each for each in takes if all(each in modalities_of(one) for one in clips))


def check(config: RunConfig, corpus: Corpus) -> None:
    """Refuses clips that lack what the run needs.

    Args:
        config: The run; without a task, its pretraining alone.
        corpus: Its clips.

    Raises:
        InputError: They lack it.
    """
    method = registry.find("method", config.method_name)
    what = f"{method.section} '{method.shown}'"
    takes = tuple(method.card["modalities"])
    if config.task_name:
        _check_task(config, corpus, method, what)
    has = modalities_of(corpus.train)
    if config.weights == "pretrained" and not set(takes) <= set(has):
        raise InputError(
            f"{what}: is pretrained on {HAS[takes]}, and {config.data.source} has {HAS[has]}; valid: --checkpoint"
            f" FILE, or --method {_of(has, alone=True)}."
        )


def _check_task(config: RunConfig, corpus: Corpus, method: registry.Component, what: str) -> None:
    """Refuses clips that lack what the task, or any of the method, needs; arguments as for :func:`check`.

    Args:
        config: The run.
        corpus: Its clips.
        method: The method or encoder.
        what: What to call it.
    """
    takes = tuple(method.card["modalities"])
    task = registry.find("task", config.task_name)
    for clips, source in ((corpus.train, config.data.source), (corpus.judged, config.data.judged.source)):
        has = modalities_of(clips)
        if has == MODALITIES:
            continue
        needed = tuple(task.card.get("modalities", ()))
        if not set(needed) <= set(has):
            raise InputError(
                f"task '{task.name}': needs {HAS[needed]}, and {source} has {HAS[has]}; valid:"
                f" {', '.join(_tasks(method))}."
            )
        if not set(takes) & set(has):
            raise InputError(f"{what}: takes {HAS[takes]}, and {source} has {HAS[has]}; valid: {_of(has)}.")
        if takes == MODALITIES and method.origin != registry.OWN and not method.encoder:
            raise InputError(
                f"{what}: takes sound and pictures together, and {source} has {HAS[has]}; valid: data with both."
            )
    if not shared(config, corpus.train, corpus.judged):
        raise InputError(
            f"--eval-data {config.data.eval_source}: has {HAS[modalities_of(corpus.judged)]}, and"
            f" {config.data.source} has {HAS[modalities_of(corpus.train)]}; valid: the same, for {what}."
        )


def _of(has: tuple[str, ...], *, alone: bool = False) -> str:
    """Returns the methods that take what some data have: those that take nothing else first, or these alone."""
    takes = {name: entry.card["modalities"] for name, entry in registry.entries("method").items()}
    fits = set(has).issuperset if alone else set(has).intersection
    able = [(len(each), name) for name, each in takes.items() if fits(each)]
    return ", ".join(name for _, name in sorted(able))


def _tasks(method: registry.Component) -> list[str]:
    """Returns the tasks that the method can do with one modality alone."""
    tasks = registry.entries("task")
    return [name for name in registry.tasks_of(method) if not tasks[name].card.get("modalities")]
