"""What stands behind a record, where it is still on disk: the clips it judged, the model, and what that found."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from avbench import registry
from avbench.errors import InputError
from avbench.store.records import stage_folder

if TYPE_CHECKING:
    from avbench.compare.run import Run
    from avbench.config import InputConfig
    from avbench.data.corpus.clips import Clips
    from avbench.data.locate import Source
    from avbench.tasks.inpaint.inpainter import Inpainter

DIRECTIONS = ("a2v", "v2a")


class Retrieved(NamedTuple):
    """What was found for one query: ids, best first, and the rank of the query's own counterpart."""

    ids: tuple[str, ...]
    rank: float


def input_of(settings: Mapping[str, Any]) -> InputConfig:
    """Returns the sizes and normalisation of a run's inputs, of its record's config.

    Raises:
        InputError: Another version of avbench recorded them.
    """
    from avbench.config import InputConfig
    from avbench.settings import build

    found: InputConfig = build(InputConfig, _section(settings, "input"), "input")
    return found


def located(settings: Mapping[str, Any]) -> Source:
    """Returns where a run's clips are or would be, by its record's config.

    Raises:
        InputError: Its data set is gone, or another version of avbench recorded it.
    """
    from avbench.config import DataConfig
    from avbench.data.locate import locate
    from avbench.settings import build

    return locate(build(DataConfig, _section(settings, "data"), "data").judged, input_of(settings))


def _section(settings: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = settings.get(name)
    if not isinstance(found, Mapping):
        raise InputError("its record does not say where its clips are, as that of a file of features or heat maps.")
    return found


def open_judged(record: Mapping[str, Any], results: Path) -> Clips:
    """Returns the clips that a record's run judged, from where they were prepared; nothing is prepared anew.

    Raises:
        InputError: They are no longer there, or others are in their place.
    """
    import numpy as np

    from avbench.compare.run import Run
    from avbench.data.corpus.corrupted import damaged
    from avbench.data.locate import open_source
    from avbench.tasks.base import positions

    source = located(record["config"])
    if not source.ready or not source.clips.exists():
        raise InputError("its prepared clips are no longer on this machine.")
    clips = open_source(source, progress=False)
    judged = clips.select(positions(np.array(list(clips.ids)), Run(results, dict(record)).ids))
    judged = damaged(judged, record["config"].get("data", {}).get("corruption", ""))
    if judged.sha256 != record.get("data_sha256"):
        raise InputError("the clips now on disk are not those it was judged on.")
    return judged


def nearest(run: Run, queries: Sequence[str], count: int) -> dict[str, list[Retrieved]]:
    """Returns what a retrieval found first, by direction, for some of its clips as queries.

    Args:
        run: The retrieval.
        queries: Ids of clips.
        count: How many of the found.

    Raises:
        InputError: Its embeddings are gone.
    """
    import numpy as np

    from avbench.metrics.retrieval import similarity
    from avbench.tasks.base import positions

    features = run.embeddings(run.ids)
    options: Any = run.options
    audio, visual = features.pair
    if options.frame >= 0:
        audio, visual = (side[:, options.frame : options.frame + 1] for side in (audio, visual))
    rows = positions(np.array(features.ids), queries)
    found = {}
    close: Any
    for direction in DIRECTIONS:
        if features.scores is not None:
            close = (features.scores if direction == "a2v" else features.scores.T)[rows]
        elif direction == "a2v":
            close = similarity(audio[rows], visual, aggregation=options.aggregation)  # (Q, n)
        else:
            close = similarity(audio, visual[rows], aggregation=options.aggregation).T
        best = np.argsort(-close, axis=1, kind="stable")[:, :count]
        ranks = run.outputs[f"{direction}_rank"]
        found[direction] = [
            Retrieved(tuple(features.ids[i] for i in line), float(ranks[row]))
            for row, line in zip(rows.tolist(), best.tolist(), strict=True)
        ]
    return found


@contextlib.contextmanager
def inpainting(record: Mapping[str, Any], results: Path) -> Iterator[Inpainter]:
    """Yields a record's model with its weights, on the CPU.

    Raises:
        InputError: Its weights are gone, or do not fit what this version builds.
    """
    import torch

    from avbench.config import ModelConfig
    from avbench.settings import build
    from avbench.tasks.inpaint.inpainter import Inpainter
    from avbench.training.checkpoints import load_weights
    from avbench.training.session import WEIGHTS

    stages = record["stages"].get("pretrain", [])
    weights = stage_folder(results, "pretrain", stages[0] if stages else "none") / WEIGHTS
    if not weights.exists():
        raise InputError("its weights are no longer in the results folder.")
    module, config = registry.installed("method", record["method"]).load(), record["config"]
    options = {key: value for key, value in config["method"].items() if key != "name"}
    method_config = build(module.CONFIG, options, "method")
    model_config, inputs = build(ModelConfig, config["model"], "model"), input_of(config)
    method = module.METHOD(method_config, model_config, inputs, seed=record["seed"])
    load_weights(method, weights)
    normalised = bool(getattr(method_config, "norm_pix_loss", False))
    with torch.inference_mode():
        yield Inpainter(method.eval(), inputs, model_config.patch_size, normalised, "cpu", "fp32")
