"""The fine-tuning models: a method's encoder and a head (paper 2.4 and 4.1)."""

from __future__ import annotations

from typing import Literal, cast

import torch
from torch import Tensor, nn

from avbench.errors import InputError, unknown
from avbench.methods.base import Method
from avbench.methods.heads import KEYS, ClassHead, HeadKind
from avbench.methods.place import first_values
from avbench.methods.pooled import FinetunedEncoder
from avbench.methods.published import Published
from avbench.methods.streams import differs_from_previous
from avbench.methods.vit import uninitialised

MISSING = ("missingaudioonly", "missingvideoonly")
MODES = ("multimodal", "audioonly", "videoonly", *MISSING)
Streams = Literal["MM", "SM", "MM+SM"]
_SOUNDLESS, _BLIND = ("videoonly", "missingvideoonly"), ("audioonly", "missingaudioonly")


class Classifier(Published):
    """Class logits from sound, frame or both: an encoder and a head.

    Args:
        encoder: What the head reads; one that was built without values gets first ones.
        n_classes: Logits per clip.
        mode: The mode it is built for; some heads of some encoders read more in mode multimodal.
        streams: What the head reads in mode multimodal; see :meth:`avbench.methods.pooled.FinetunedEncoder.summary`.
        head: See :class:`~avbench.methods.heads.ClassHead`.
        n_frames: Frames a clip, for the head ``concat``.
        seed: Seed of the first weights.

    Raises:
        InputError: Sizes that do not fit each other.
    """

    def __init__(
        self,
        encoder: FinetunedEncoder,
        n_classes: int,
        *,
        mode: str = "multimodal",
        streams: Streams = "MM",
        head: HeadKind = "linear",
        n_frames: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        # A model for a single modality reads that one's stream.
        self.streams: Streams = streams if mode == "multimodal" else "MM"
        self.frozen = False
        self.encoder = encoder
        without_values = any(parameter.is_meta for parameter in self.parameters())
        width = encoder.summary_width(mode, head=head, streams=self.streams)
        with uninitialised():
            self.head = ClassHead(head, encoder.model_config, width, n_classes, n_frames)
        first_values(self if without_values else nn.ModuleDict({"head": self.head}), seed)

    @property
    def missing_modes(self) -> tuple[str, ...]:
        """The modes in which a model of both modalities is tested with one."""
        return () if self.streams == "SM" else MISSING

    def freeze(self) -> None:
        """Leaves only the head to be trained."""
        self.frozen = True
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name.startswith(KEYS))

    def forward(self, audio: Tensor | None, visual: Tensor | None, mode: str = "multimodal") -> Tensor:
        """Returns logits, (B, C); of a linear head on several frames (B, F, C).

        Args:
            audio: (B, T, M), or (B, F, T, M) with a sound for each frame; may be None in modes that do not use it.
            visual: (B, 3, H, W), or (B, F, 3, H, W); may be None in modes that do not use it.
            mode: One of :data:`MODES`.

        Raises:
            InputError: A mode that it does not have, an input that is missing or has the wrong shape.
        """
        valid = (*(name for name in MODES if name not in MISSING), *self.missing_modes)
        if mode not in valid:
            raise unknown("mode", mode, valid)
        if self.streams == "SM" and mode != "multimodal":
            raise InputError(f"mode: found {mode} for a head that reads both single streams (SM), valid: multimodal.")
        sound = None if mode in _SOUNDLESS else _given(audio, "audio", mode)
        frame = None if mode in _BLIND else _given(visual, "visual", mode)
        shape = _clips_and_frames(sound, frame)
        if shape is not None:
            sound, frame = (None if x is None else x.flatten(0, 1) for x in (sound, frame))
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            vectors = self._vectors(sound, frame, mode, several=shape is not None)
        logits: Tensor = self.head(vectors if shape is None else vectors.reshape(*shape, -1))
        return logits

    def _vectors(self, sound: Tensor | None, frame: Tensor | None, mode: str, *, several: bool) -> Tensor:
        """Returns what the head reads, (N, W), of N sounds (N, T, M) and frames (N, 3, H, W).

        Args:
            sound: None where it is not used.
            frame: None where it is not used.
            mode: One of :data:`MODES`.
            several: Whether a clip has several in a row; sounds equal to the one before are then encoded once.
        """
        row: Tensor | None = None
        if sound is not None and several:
            new = differs_from_previous(sound)
            row, sound = new.cumsum(dim=0) - 1, sound[new]
        return self.encoder.summary(sound, frame, row, mode, head=self.head.kind, streams=self.streams)


def build_classifier(
    method: Method,
    n_classes: int,
    *,
    mode: str,
    head: Literal["auto", "linear", "attention", "concat"] = "auto",
    streams: Streams = "MM",
    n_frames: int = 1,
    seed: int = 0,
) -> Classifier:
    """Returns the fine-tuning model of a method, with the method's weights and a new head.

    Args:
        method: With the weights to start from; not changed.
        n_classes: Logits per clip.
        mode: What it will be trained in.
        head: ``auto``: attention for CAV-MAE Sync, linear for the others.
        streams: See :class:`Classifier`.
        n_frames: Frames a clip, for the head ``concat``.
        seed: Seed of the head's first weights.

    Raises:
        InputError: The method has no such model or no such streams, or its weights do not fit.
    """
    encoder = method.encoder_to_finetune()
    kind = encoder.default_head if head == "auto" else head
    return Classifier(encoder, n_classes, mode=mode, streams=streams, head=kind, n_frames=n_frames, seed=seed)


def _given(tensor: Tensor | None, name: str, mode: str) -> Tensor:
    if tensor is None:
        raise InputError(f"{name}: found None, which mode '{mode}' needs.")
    return tensor


def _clips_and_frames(sound: Tensor | None, frame: Tensor | None) -> tuple[int, int] | None:
    """Returns (B, F) where inputs have an axis of frames; None where they do not.

    Raises:
        InputError: Sound and frame differ in it.
    """
    sounds = sound.shape[:-2] if sound is not None else None
    frames = frame.shape[:-3] if frame is not None else None
    if sounds is not None and frames is not None and sounds != frames:
        raise InputError(f"audio and visual: found {tuple(sounds)} sounds and {tuple(frames)} frames, valid: the same.")
    shape = cast(torch.Size, sounds if sounds is not None else frames)
    return (shape[0], shape[1]) if len(shape) == 2 else None
