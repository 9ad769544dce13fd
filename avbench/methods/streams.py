"""What tasks read of an encoder: its streams of unmasked clips, as vectors and as tokens (paper 2.4 and 4)."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from avbench.errors import InputError
from avbench.methods.encoder import MODALITIES, Encoder
from avbench.methods.positions import Modality
from avbench.methods.vit import Stream

_AT_ONCE = 64  # frames or windows a pass, so that clips with many of them take no more memory


def single_stream(encoder: Encoder, name: Modality, batch: Tensor) -> Tensor:
    """Returns the unmasked tokens of one modality's stream, (B, T, M) or (B, 3, H, W) -> (B, N, D).

    Args:
        encoder: The encoder.
        name: Which modality.
        batch: (B, T, M) or (B, 3, H, W).
    """
    return encoder.stream(name, encoder.encode(name, encoder.of(name).tokens(batch)))


def streams(
    encoder: Encoder, audio: Tensor | None, visual: Tensor | None, *, joint: bool = True
) -> dict[Stream, Tensor]:
    """Returns the unmasked tokens of every stream there is, each after its last LayerNorm.

    A sound that equals the one before, such as the windows at a clip's ends, is encoded once.

    Args:
        encoder: The encoder.
        audio: (B, T, M); not looked at where the encoder takes no sound, None where there is none.
        visual: (B, 3, H, W); likewise.
        joint: Whether the joint stream is wanted.

    Returns:
        ``audio``, ``visual`` and ``joint``, those there are, to (B, N, D).
    """
    found: dict[Stream, Tensor] = {}
    encoded: list[Tensor] = []
    if encoder.audio is not None and audio is not None:
        new = differs_from_previous(audio)
        row = new.cumsum(dim=0) - 1
        sounds = encoder.encode("audio", encoder.audio.tokens(audio[new]))
        found["audio"] = encoder.stream("audio", sounds)[row]
        encoded.append(sounds[row])
    if encoder.visual is not None and visual is not None:
        frames = encoder.encode("visual", encoder.visual.tokens(visual))
        found["visual"] = encoder.stream("visual", frames)
        encoded.append(frames)
    if joint and len(encoded) == len(MODALITIES):
        found["joint"] = encoder.joint_stream(*encoded)
    return found


def embed(encoder: Encoder, audio: Tensor, visual: Tensor) -> tuple[Tensor, Tensor]:
    """Returns pooled tokens of the single-modality streams, of unit length: what retrieval compares.

    Args:
        encoder: Of both modalities.
        audio: (B, T, M), or (B, F, T, M).
        visual: (B, 3, H, W), or (B, F, 3, H, W).

    Returns:
        float32 (B, D) or (B, F, D) each, as its input.

    Raises:
        InputError: The encoder has one modality only.
    """
    if len(encoder.modalities) < len(MODALITIES):
        raise InputError(f"found one modality, {encoder.modalities[0]}; valid: audio and visual, to embed pairs.")

    def vectors(name: Modality) -> Callable[[Tensor], Tensor]:
        return lambda batch: encoder.pool(single_stream(encoder, name, batch).float())

    return _unit_vectors(vectors("audio"), audio, axes=2), _unit_vectors(vectors("visual"), visual, axes=3)


def vectors(encoder: Encoder, audio: Tensor | None, visual: Tensor | None, *, joint: bool = True) -> dict[str, Tensor]:
    """Returns a vector for each stream: its pooled tokens; of the joint stream, their mean.

    Args:
        encoder: The encoder.
        audio: (B, T, M), or (B, F, T, M); None where there is no sound.
        visual: (B, 3, H, W), or (B, F, 3, H, W); None where there is no picture.
        joint: Whether the joint stream is wanted.

    Returns:
        ``audio``, ``visual`` and ``joint``, those there are, to float32 (B, D) or (B, F, D).
    """

    def pooled(sounds: Tensor | None, frames: Tensor | None) -> dict[str, Tensor]:
        return {
            name: tokens.float().mean(dim=1) if name == "joint" else encoder.pool(tokens.float())
            for name, tokens in streams(encoder, sounds, frames, joint=joint).items()
        }

    return _each_frame(pooled, audio, visual)


def local_tokens(encoder: Encoder, audio: Tensor, visual: Tensor) -> dict[str, Tensor]:
    """Returns what localization compares: the frame's patches, and vectors of sound and frame.

    Args:
        encoder: Of both modalities.
        audio: (B, T, M), or (B, F, T, M).
        visual: (B, 3, H, W), or (B, F, 3, H, W).

    Returns:
        ``visual``: patches, (B[, F], N, D); ``audio``: mean patch of the sound, (B[, F], D); ``audio_global`` and
        ``visual_global``: the vectors of retrieval, (B[, F], D). All float32.
    """

    def local(sounds: Tensor | None, frames: Tensor | None) -> dict[str, Tensor]:
        found = streams(encoder, sounds, frames, joint=False)
        sound, frame = found["audio"].float(), found["visual"].float()
        return {
            "visual": encoder.patches(frame),
            "audio": encoder.patches(sound).mean(dim=1),
            "audio_global": encoder.pool(sound),
            "visual_global": encoder.pool(frame),
        }

    return _each_frame(local, audio, visual)


def differs_from_previous(items: Tensor) -> Tensor:
    """Returns where an item differs from the one before it, (N, ...) -> (N,) bool; the first does."""
    new = torch.ones(len(items), dtype=torch.bool, device=items.device)
    new[1:] = (items[1:] != items[:-1]).flatten(1).any(dim=1)
    return new


def _each_frame(
    encode: Callable[[Tensor | None, Tensor | None], dict[str, Tensor]], audio: Tensor | None, visual: Tensor | None
) -> dict[str, Tensor]:
    """Encodes each pair of sound and frame of a batch, or each of the F pairs of its clips.

    Args:
        encode: (N, T, M) and (N, 3, H, W), or one of them and None -> named (N, ...).
        audio: (B, T, M) or (B, F, T, M); None where there is no sound.
        visual: (B, 3, H, W) or (B, F, 3, H, W); None where there is no picture.

    Returns:
        Named (B, ...) or (B, F, ...).
    """
    given = [(batch, axes) for batch, axes in ((audio, 3), (visual, 4)) if batch is not None]
    shape = given[0][0].shape[:2]
    frames = all(batch.ndim > axes for batch, axes in given)  # (B, F, ...)
    if frames:
        audio, visual = (None if batch is None else batch.flatten(0, 1) for batch in (audio, visual))
    some = (itertools.repeat(None) if batch is None else torch.split(batch, _AT_ONCE) for batch in (audio, visual))
    parts = [encode(sounds, pictures) for sounds, pictures in zip(*some, strict=False)]
    found = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    return {name: values.reshape(*shape, *values.shape[1:]) for name, values in found.items()} if frames else found


def _unit_vectors(encode: Callable[[Tensor], Tensor], clips: Tensor, *, axes: int) -> Tensor:
    """Encodes each item of a batch, or each of the F items of its clips, to a vector of unit length.

    Items of a clip that equal the one before, such as the audio windows at its ends, are encoded once.

    Args:
        encode: (N, ...) -> (N, D).
        clips: (B, ...) or (B, F, ...).
        axes: How many axes an item has.

    Returns:
        (B, D) or (B, F, D).
    """
    if clips.ndim == axes + 1:
        return F.normalize(encode(clips), dim=-1)
    items = clips.flatten(0, 1)  # (B * F, ...)
    new = differs_from_previous(items)
    found = F.normalize(torch.cat([encode(part) for part in torch.split(items[new], _AT_ONCE)]), dim=-1)
    return found[new.cumsum(dim=0) - 1].reshape(*clips.shape[:2], -1)
