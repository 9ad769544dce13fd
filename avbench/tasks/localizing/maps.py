"""Maps of patches, from tokens and a sound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from avbench.errors import InputError
from avbench.tasks.localizing.controls import similarity
from avbench.tasks.localizing.heatmaps import MapMaker, token_mean
from avbench.tasks.localizing.inputs import Judged

if TYPE_CHECKING:
    from avbench.store.extracted import Tokens
    from avbench.tasks.localizing.options import LocalizationConfig
    from avbench.tasks.subject import Subject


def map_maker(subject: Subject, config: LocalizationConfig, judged: Judged) -> MapMaker:
    """Returns what makes maps of the judged tokens.

    Args:
        subject: The model and its clips.
        config: The task's options.
        judged: The tokens that are judged.

    Raises:
        InputError: The method has no global token, or there are no training clips to take a mean of.
    """
    tokens = judged.tokens
    sound = sound_vectors(tokens, config)
    means: tuple[Any, Any] = (None, None)
    if config.centring != "none":
        of = tokens if config.centring == "evaluated" else subject.tokens("train")
        means = token_mean(of.visual), token_mean(sound_vectors(of, config))
    return MapMaker(
        visual=tokens.visual.reshape(-1, *tokens.visual.shape[2:]),
        sound=sound.reshape(-1, sound.shape[-1]),
        grid=tokens.grid,
        similarity=similarity(judged.annotations.protocol, config),
        negative=config.sign == "negative",
        visual_mean=means[0],
        sound_mean=means[1],
    )


def sound_vectors(tokens: Tokens, config: LocalizationConfig) -> npt.NDArray[np.float32]:
    """Returns the vectors that stand for sounds, (n, F, D).

    Raises:
        InputError: The method has no global token.
    """
    if config.audio_vector == "mean":
        return tokens.audio
    if tokens.audio_global is None:
        raise InputError("task.audio_vector: found global, valid for this method: mean; it has no global token.")
    return tokens.audio_global
