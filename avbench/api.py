"""The Python face of avbench; each function is one command, or one model in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avbench.errors import InputError, RunError
from avbench.settings import shown

if TYPE_CHECKING:
    import pandas as pd

    from avbench.encoders.base import Encoder
    from avbench.running.embed import Model


def run(
    method: str = "",
    task: str = "retrieval",
    *,
    data: str | Path | None = None,
    eval_data: str | Path | None = None,
    checkpoint: str | Path | None = None,
    recipe: str = "",
    preset: str | Sequence[str] = (),
    config: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    seeds: Sequence[int] = (0,),
    device: str = "auto",
    precision: str = "auto",
    results: str | Path = "results",
    force: bool = False,
    processes: int = 1,
) -> list[dict[str, Any]]:
    """Pretrains if needed and evaluates, as ``avbench run`` does.

    Args:
        method: Its name, such as ``cavmae``, or anybody's encoder, such as ``FILE.py:Class``; "": the recipe's.
        task: Its name, such as ``retrieval``.
        data: ``soundshapes``, a folder of videos, a CSV, a prepared folder or a manifest.json.
        eval_data: What is judged, where that is another source; then all of ``data`` trains, or its training split.
        checkpoint: Weights to evaluate; without them the method is pretrained.
        recipe: How the weights are obtained, such as ``cavmae/base``.
        preset: One name or several, later over earlier.
        config: A YAML file of sections.
        settings: Single settings over all else, such as ``{"method.lambda_c": 0.1}``.
        seeds: One run for each.
        device: ``auto``, ``cpu`` or ``cuda``.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.
        results: The results folder.
        force: Compute again what is done already.
        processes: How many extract features in parallel; the numbers do not depend on it.

    Returns:
        The records: for each seed the untrained model's and the trained one's.

    Raises:
        InputError: Something named cannot be used; nothing was computed.
        RunError: A run failed; the others were finished and recorded.
    """
    from avbench.registry import encoders
    from avbench.running.options import ConfigOptions
    from avbench.running.possible import possible
    from avbench.running.runner import Execution, Runner
    from avbench.training.device import resolve_device

    options = ConfigOptions(
        data=None if data is None else str(data),
        eval_data=None if eval_data is None else str(eval_data),
        checkpoint=None if checkpoint is None else Path(checkpoint),
        recipe=recipe,
        preset=(preset,) if isinstance(preset, str) else tuple(preset),
        config=None if config is None else Path(config),
        set=(_as_sets(settings),),
        device=device,  # type: ignore[arg-type]  # checked where it is resolved
        precision=precision,  # type: ignore[arg-type]
        results=Path(results),
    )
    encoders.forget()
    requests = options.requests((method,) if method else (), (task,), tuple(seeds))
    execution = Execution(results=options.results, device=resolve_device(device), force=force, processes=processes)
    runner = Runner(execution)
    configs, _ = possible(runner, runner.resolve_all(requests))
    outcomes = [outcome for each in configs for outcome in runner.run(each)]
    failed = [outcome for outcome in outcomes if outcome.error]
    if failed:
        raise RunError(f"{len(failed)} of {len(outcomes)} runs failed, the first: {failed[0].error}")
    return [outcome.record for outcome in outcomes if outcome.record is not None]


def results(folder: str | Path = "results") -> pd.DataFrame:
    """Returns all records as a long table, one row for each run and metric: :func:`avbench.store.index.load_table`."""
    from avbench.store.index import load_table

    return load_table(Path(folder))


def load_model(
    method: str | type[Encoder],
    checkpoint: str | Path | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
    device: str = "auto",
    precision: str = "auto",
) -> Model:
    """Loads a method or an encoder, its weights strictly, as a model that embeds videos.

    Args:
        method: A method's name, such as ``cavmae``, or anybody's encoder: ``FILE.py:Class``, ``PACKAGE.MODULE:Class``,
            a name of ``avbench list encoders``, or the class itself.
        checkpoint: Ours (.safetensors) or the authors' (.pth), or hf:OWNER/REPO/FILE@REVISION; the sizes are read from
            it. An encoder may do without.
        settings: Single settings, such as an encoder's arguments: ``{"encoder.size": 32}``.
        device: ``auto``, ``cpu`` or ``cuda``.
        precision: ``auto``, ``fp32``, ``bf16`` or ``fp16``.

    Raises:
        InputError: No such method, encoder or file, or keys that are missing, unexpected or of another shape.
        RunError: The encoder cannot be loaded.
    """
    from avbench.registry import encoders
    from avbench.running.embed import Model

    encoders.forget()
    return Model.load(
        encoders.named(method),
        None if checkpoint is None else Path(checkpoint),
        settings=_as_sets(settings),
        device=device,
        precision=precision,
    )


@dataclass(frozen=True)
class Similarity:
    """How similar two videos are, averaged over all pairs of their windows; None where one lacks the modality.

    These are cosines, each in [-1, 1]; sound and picture are compared by an encoder's own ``similarity`` where it has
    one.
    """

    audio_to_visual: float | None  # the sound of a with the picture of b
    visual_to_audio: float | None  # the picture of a with the sound of b
    audio_to_audio: float | None
    visual_to_visual: float | None


def similarity(
    video_a: str | Path, video_b: str | Path, *, model: Model | None = None, results: str | Path = "results"
) -> Similarity:
    """Compares two videos of any length, rate and size.

    Args:
        video_a: A file with sound and picture, or one of them.
        video_b: Another.
        model: From :func:`load_model`; without it, the newest weights that were pretrained into ``results``.
        results: The results folder to look in.

    Raises:
        InputError: A file cannot be used, there is no model, or it does not compare sounds with pictures.
        RunError: An encoder's function failed.
    """
    from avbench.running.embed import Model, cosine

    if model is None:
        model = Model.newest(Path(results))
    a, b = model.embed_video(video_a), model.embed_video(video_b)
    return Similarity(
        model.similarity(a, b), model.similarity(b, a), cosine(a.audio, b.audio), cosine(a.visual, b.visual)
    )


__all__ = ["InputError", "RunError", "Similarity", "load_model", "results", "run", "similarity"]


def _as_sets(settings: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Returns settings as ``--set`` has them."""
    return tuple(f"{key}={_as_yaml(key, value)}" for key, value in (settings or {}).items())


def _as_yaml(key: str, value: Any) -> str:
    import yaml

    try:
        return yaml.safe_dump(str(value) if isinstance(value, Path) else value, default_flow_style=True)
    except yaml.YAMLError:
        raise InputError(f"{key}: found {shown(value)}, valid: numbers, text, true, false, None, or a list.") from None
