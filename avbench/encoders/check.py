"""What ``avbench check encoder`` asks of anybody's encoder, on a few clips; each failure says what to do."""

from __future__ import annotations

import dataclasses
import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from avbench.data.corpus.clips import Clips
from avbench.data.feed.heard import HeardBatch, HeardClips
from avbench.encoders import returned
from avbench.encoders.adapted import Adapted
from avbench.encoders.returned import Float32
from avbench.errors import AvbenchError
from avbench.store.extracted import unit_length

MOST = 8  # clips that are looked at
SHAPES = {
    **dict.fromkeys(("audio", "visual", "joint"), returned.VECTORS),
    "patches": returned.PATCHES,
    "audio_tokens": returned.TOKENS,
}
_CLOSE = 1e-3  # of the largest value: what another batch may change by rounding, in half precision, too
_SURE = 2.0  # standard errors


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, whether it is right, and what to do where it is not."""

    ok: bool
    text: str


def examine(encoder: Adapted, clips: Clips) -> Iterator[Finding]:
    """Yields what is found, one thing after the other; a function that fails is not looked at further.

    Args:
        encoder: With its weights.
        clips: Some clips, of which the first few are looked at.
    """
    heard = encoder.heard(clips)
    ids = list(clips.ids[:MOST])
    batch = heard.batch(range(len(ids)))
    found: dict[str, Float32] = {}
    for name in (each for each in SHAPES if hasattr(encoder.encoder, each)):
        start = time.perf_counter()
        try:
            found[name] = encoder.checked(name, batch, ids, SHAPES[name])
        except AvbenchError as error:
            yield Finding(False, str(error))
            continue
        seconds = time.perf_counter() - start
        shape = ", ".join(map(str, found[name].shape))
        yield Finding(True, f"{name}: ({shape}) for {len(ids)} clips, all finite, {len(ids) / seconds:.1f} clips/s")
        yield from _alone(encoder, name, heard, ids, found[name])
        yield from _again(encoder, name, batch, ids, found[name])
        yield from _all_alike(name, found[name])
    if "audio" in found:
        yield from _silence(encoder, batch, ids)
    if {"audio", "visual"} <= found.keys():
        yield from _pairs(encoder, found["audio"], found["visual"])
    yield Finding(True, f"memory: {_memory(encoder.device)}")


def _alone(encoder: Adapted, name: str, heard: HeardClips, ids: Sequence[str], whole: Float32) -> Iterator[Finding]:
    """Compares the first clip alone with the same clip among three."""
    three = min(3, len(ids))
    try:
        one = encoder.checked(name, heard.batch([0]), ids[:1], SHAPES[name])
        several = encoder.checked(name, heard.batch(range(three)), ids[:three], SHAPES[name])
    except AvbenchError as error:
        yield Finding(False, str(error))
        return
    apart = _apart(one[0], several[0], whole)
    if apart <= _CLOSE:
        yield Finding(True, f"{name}: a clip alone is as among {three}")
    else:
        yield Finding(
            False,
            f"{name}: a clip alone is not as among {three} (off by {apart:.1e} of the largest value); valid: the same:"
            " call eval() on every part in load, and mask what you pad",
        )


def _again(encoder: Adapted, name: str, batch: HeardBatch, ids: Sequence[str], whole: Float32) -> Iterator[Finding]:
    apart = _apart(encoder.checked(name, batch, ids, SHAPES[name]), whole, whole)
    if apart <= _CLOSE:
        yield Finding(True, f"{name}: the same a second time")
    else:
        yield Finding(
            False,
            f"{name}: something else a second time (off by {apart:.1e} of the largest value); valid: the same: call"
            " eval() on every part in load, and draw nothing when you encode",
        )


def _all_alike(name: str, whole: Float32) -> Iterator[Finding]:
    if len(whole) > 1 and _apart(whole, np.broadcast_to(whole[:1], whole.shape), whole) == 0:
        yield Finding(False, f"{name}: the same for all {len(whole)} clips; valid: something that tells them apart")


def _silence(encoder: Adapted, batch: HeardBatch, ids: Sequence[str]) -> Iterator[Finding]:
    """Silent clips occur in every public set."""
    if not isinstance(batch.sounds[0], torch.Tensor):
        return  # what prepare_audio made of it
    silent = dataclasses.replace(batch, sounds=[torch.zeros_like(each) for each in batch.sounds])
    try:
        encoder.checked("audio", silent, ids, returned.VECTORS)
    except AvbenchError as error:
        yield Finding(False, f"silence: {error} Divide by nothing that may be 0: add 1e-8")
    else:
        yield Finding(True, "audio: silence gives finite numbers")


def _pairs(encoder: Adapted, audio: Float32, visual: Float32) -> Iterator[Finding]:
    """Asks whether a clip's own sound is at least as close to its picture as others' are, on average."""
    own = encoder.scores
    if own is None and audio.shape[-1] != visual.shape[-1]:
        widths = f"{audio.shape[-1]} and {visual.shape[-1]}"
        yield Finding(False, f"audio and visual: widths {widths}; valid for retrieval: the same, or define similarity")
        return
    try:
        close = np.concatenate(list(own(_frames(audio), _frames(visual)))) if own else _cosines(audio, visual)
    except AvbenchError as error:
        yield Finding(False, str(error))
        return
    n = len(close)
    if n < 3:
        return
    others = (close.sum(axis=1) - close.diagonal()) / (n - 1)
    gains = close.diagonal() - others
    mean, error_of_mean = float(gains.mean()), float(gains.std(ddof=1) / np.sqrt(n))
    wrong = mean < -_SURE * error_of_mean
    fix = "; valid: no further: do sounds and pictures come in the same order?" if wrong else ""
    which = "further" if mean < 0 else "closer"
    yield Finding(not wrong, f"a clip's own sound is {which} by {abs(mean):.3g} than others' on average of {n}{fix}")


def _frames(values: Float32) -> Float32:
    return values if values.ndim == 3 else values[:, None]


def _cosines(audio: Float32, visual: Float32) -> Float32:
    first, second = (unit_length(_frames(each).mean(axis=1)) for each in (audio, visual))
    close: Float32 = first @ second.T
    return close


def _apart(a: Float32, b: Float32, whole: Float32) -> float:
    return float(np.abs(a - b).max() / max(float(np.abs(whole).max()), 1e-12))


def _memory(device: str) -> str:
    process = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    gpu = f", {torch.cuda.max_memory_allocated() / 2**30:.2f} GiB of the GPU" if device == "cuda" else ""
    return f"{process:.2f} GiB of this process at most, with Python and torch{gpu}"
