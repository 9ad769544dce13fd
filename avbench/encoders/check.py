"""What ``avbench check encoder`` asks of an encoder or a method, on a few clips; each failure says what to do."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from avbench.data.corpus.changed import changed
from avbench.data.corpus.clips import Clips
from avbench.data.corpus.silenced import Silence
from avbench.encoders.judged import Judged
from avbench.encoders.returned import Float32
from avbench.errors import AvbenchError
from avbench.store.extracted import EMBEDDING, Arrays, unit_length

MOST = 8  # clips that are looked at
_CLOSE = 1e-3  # of the largest value: what another batch may change by rounding, in half precision, too
_SURE = 2.0  # standard errors


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, whether it is right, and what to do where it is not."""

    ok: bool
    text: str


def examine(judged: Judged, clips: Clips) -> Iterator[Finding]:
    """Yields what is found, one thing after the other; a function that fails is not looked at further.

    Args:
        judged: With its weights.
        clips: Some clips, of which the first few are looked at.
    """
    count = min(MOST, len(clips))
    three = min(3, count)
    ids, batches = list(clips.ids[:count]), {n: _batch(judged, clips, n) for n in {1, three, count}}
    found: Arrays = {}
    for function in judged.functions:
        try:
            start = time.perf_counter()
            whole = judged.answers(function, batches[count], ids)
            seconds = time.perf_counter() - start
            one, several = (judged.answers(function, batches[n], ids[:n]) for n in (1, three))
            again = judged.answers(function, batches[count], ids)
        except AvbenchError as error:
            yield Finding(False, str(error))
            continue
        for name, values in whole.items():
            shape = ", ".join(map(str, values.shape))
            yield Finding(True, f"{name}: ({shape}) for {count} clips, all finite, {count / seconds:.1f} clips/s")
            yield _alone(name, three, _apart(one[name][0], several[name][0], values))
            yield _again(name, _apart(again[name], values, values))
            if count > 1 and _apart(values, np.broadcast_to(values[:1], values.shape), values) == 0:
                text = f"{name}: the same for all {count} clips; valid: something that tells them apart"
                yield Finding(False, text)
        found |= whole
    if "audio" in found:
        yield from _silence(judged, changed(clips, Silence()), count)
    prefix = EMBEDDING if f"{EMBEDDING}audio" in found else ""
    if {f"{prefix}audio", f"{prefix}visual"} <= found.keys():
        yield from _pairs(judged, found[f"{prefix}audio"], found[f"{prefix}visual"])
    yield Finding(True, f"memory: {_memory(judged.device)}")


def _batch(judged: Judged, clips: Clips, count: int) -> Any:
    """Returns the first clips as they are read."""
    rows = np.arange(count)
    return judged.heard(clips).batch(rows, np.zeros_like(rows))


def _alone(name: str, three: int, apart: float) -> Finding:
    """Compares the first clip alone with the same clip among three."""
    if apart <= _CLOSE:
        return Finding(True, f"{name}: a clip alone is as among {three}")
    return Finding(
        False,
        f"{name}: a clip alone is not as among {three} (off by {apart:.1e} of the largest value); valid: the same:"
        " call eval() on every part in load, and mask what you pad",
    )


def _again(name: str, apart: float) -> Finding:
    if apart <= _CLOSE:
        return Finding(True, f"{name}: the same a second time")
    return Finding(
        False,
        f"{name}: something else a second time (off by {apart:.1e} of the largest value); valid: the same: call"
        " eval() on every part in load, and draw nothing when you encode",
    )


def _silence(judged: Judged, silent: Clips, count: int) -> Iterator[Finding]:
    """Silent clips occur in every public set."""
    function = next(each for each in judged.functions if each in ("audio", "vectors"))
    try:
        judged.answers(function, _batch(judged, silent, count), list(silent.ids[:count]))
    except AvbenchError as error:
        yield Finding(False, f"silence: {error} Divide by nothing that may be 0: add 1e-8")
    else:
        yield Finding(True, "audio: silence gives finite numbers")


def _pairs(judged: Judged, audio: Float32, visual: Float32) -> Iterator[Finding]:
    """Asks whether a clip's own sound is at least as close to its picture as others' are, on average."""
    own = judged.scores
    if own is None and audio.shape[-1] != visual.shape[-1]:
        widths = f"{audio.shape[-1]} and {visual.shape[-1]}"
        yield Finding(False, f"audio and visual: widths {widths}; valid for retrieval: the same, or define similarity")
        return
    several = {audio.shape[1:-1], visual.shape[1:-1]} - {(), (1,)}
    if own is None and len(several) > 1:
        counts = f"{audio.shape[1]} and {visual.shape[1]} vectors a clip"
        fix = "as many of both, one of either, or --set task.aggregation=mean"
        yield Finding(False, f"audio and visual: {counts}; valid for retrieval: {fix}")
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
