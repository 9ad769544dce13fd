"""The fine-tuning models: a method's encoder and a head (paper 2.4 and 4.1; facts/cavmae.md 1.14).

:mod:`avbench.methods.finetuned` has those of the methods with another encoder, and builds one from pretraining weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, cast, get_args

import torch
from torch import Tensor

from avbench.config import InputConfig, ModelConfig
from avbench.errors import InputError, unknown
from avbench.methods.encoder import AudioVisualEncoder
from avbench.methods.heads import KEYS, ClassHead, HeadKind
from avbench.methods.tokens import Tokens, differs_from_previous
from avbench.methods.vit import Stream, uninitialised

Mode = Literal["multimodal", "audioonly", "videoonly", "missingaudioonly", "missingvideoonly"]
MODES: tuple[str, ...] = get_args(Mode)
Streams = Literal["MM", "SM", "MM+SM"]
_SOUNDLESS, _BLIND = ("videoonly", "missingvideoonly"), ("audioonly", "missingaudioonly")


class FinetuningModel(Tokens, ClassHead):
    """Class logits from sound, frame or both; base of the models below, which say how tokens are encoded.

    ``missing*`` modes are for a model fine-tuned with both modalities and tested with one: the named one passes the
    joint encoder twice, with the joint and with its own LayerNorms, and the two means are averaged.

    Attributes:
        streams_read: What the head reads in mode multimodal: the mean token of the joint stream (MM), those of the two
            single streams end to end (SM), or the sum of all three (MM+SM); paper 2.3 and Table 2f. The head of SM is
            twice as wide, so such a model has no other mode.
    """

    streams_read: Streams = "MM"
    frozen: bool = False

    @property
    def missing_modes(self) -> tuple[str, ...]:
        """The ``missing*`` modes it has."""
        return () if self.streams_read == "SM" else ("missingaudioonly", "missingvideoonly")

    def read_streams(self, streams: Streams, mode: str, width: int) -> int:
        """Settles what the head reads; returns how wide that is.

        Args:
            streams: Of a model for both modalities; one for a single modality reads that one's stream.
            mode: The mode it is built for.
            width: Of one stream.
        """
        self.streams_read = streams if mode == "multimodal" else "MM"
        return 2 * width if self.streams_read == "SM" else width

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
            InputError: An unknown mode, an input that is missing or has the wrong shape.
        """
        if mode not in MODES:
            raise unknown("mode", mode, MODES)
        sound = None if mode in _SOUNDLESS else _given(audio, "audio", mode)
        frame = None if mode in _BLIND else _given(visual, "visual", mode)
        shape = _clips_and_frames(sound, frame)
        if shape is not None:
            sound, frame = (None if x is None else x.flatten(0, 1) for x in (sound, frame))
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            vectors = self._vectors(sound, frame, mode, several=shape is not None)
        return self.classify(vectors if shape is None else vectors.reshape(*shape, -1))

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
        audio = None if sound is None else self.encode_a(self.tokens_a(sound))
        if frame is None:
            vectors = self.read(audio, None, mode)
            return vectors if row is None else vectors[row]
        if audio is not None and row is not None:
            audio = audio[row]
        return self.read(audio, self.encode_v(self.tokens_v(frame)), mode)

    def read(self, audio: Tensor | None, visual: Tensor | None, mode: str) -> Tensor:
        """Returns what the head reads of encoded tokens, (N, W).

        Args:
            audio: (N, tokens, D), or None where the mode does not use it.
            visual: Likewise.
            mode: One of :data:`MODES`.

        Raises:
            InputError: A mode of one modality, of a model that reads both single streams.
        """
        if audio is not None and visual is not None:
            if self.streams_read == "MM":
                return self.joint_stream(audio, visual).mean(dim=1)
            single = self.pool(self.joint(audio, "audio")), self.pool(self.joint(visual, "visual"))
            if self.streams_read == "SM":
                return torch.cat(single, dim=-1)
            return self.joint_stream(audio, visual).mean(dim=1) + single[0] + single[1]
        if self.streams_read == "SM":
            raise InputError(f"mode: found {mode} for a head that reads both single streams (SM), valid: multimodal.")
        stream: Stream = "audio" if audio is not None else "visual"
        tokens = cast(Tensor, audio if audio is not None else visual)
        own = self.pool(self.joint(tokens, stream))
        if not mode.startswith("missing"):
            return own
        return (self.pool(self.joint(tokens, "joint")) + own) / 2


class Classifier(FinetuningModel, AudioVisualEncoder):
    """CAV-MAE's encoder (also CAV's and AV-MAE's) and a head.

    Args:
        model: Sizes of the transformers; the decoder's are not used.
        input: Sizes of spectrogram and frame.
        n_classes: Logits per clip.
        mode: The mode it is built for.
        seed: Seed of the first weights.
        trainable_positions: Train the position tables, as the authors' code does.
        modality_norms: LayerNorms of their own for the single-modality streams of the joint encoder.
        streams: See :class:`FinetuningModel`.
        head: See :class:`~avbench.methods.heads.ClassHead`.
        n_frames: Frames a clip, for the head ``concat``.

    Raises:
        InputError: Sizes that do not fit each other.
    """

    def __init__(
        self,
        model: ModelConfig,
        input: InputConfig,
        n_classes: int,
        *,
        mode: str = "multimodal",
        seed: int = 0,
        trainable_positions: bool = True,
        modality_norms: bool = True,
        streams: Streams = "MM",
        head: HeadKind = "linear",
        n_frames: int = 1,
    ) -> None:
        with uninitialised():
            super().__init__(model, input, trainable_positions=trainable_positions, modality_norms=modality_norms)
            self.add_head(head, model, self.read_streams(streams, mode, model.embed_dim), n_classes, n_frames)
        self.initialise(seed)


def read_classifier(
    path: Path,
    model: ModelConfig,
    input: InputConfig,
    *,
    n_classes: int | None = None,
    mode: str = "multimodal",
    streams: Streams = "MM",
) -> Classifier:
    """Returns a fine-tuned CAV-MAE from a file, the authors' or ours, loaded strictly.

    Args:
        path: The file.
        model: Sizes of the transformers.
        input: Sizes of spectrogram and frame.
        n_classes: Classes wanted; None: those of the file.
        mode: The mode that it will be judged in.
        streams: See :class:`FinetuningModel`.

    Raises:
        InputError: No checkpoint, not a fine-tuned CAV-MAE, other classes, streams or sizes.
    """
    from avbench.training.checkpoints import load_weights
    from avbench.training.weights_file import read_state

    state = read_state(path)
    key = "mlp_head.1.weight"
    if key not in state:
        raise InputError(f"checkpoint {path}: found no {key}, valid: the weights of a fine-tuned CAV-MAE.")
    found = state[key].shape[0]
    if n_classes not in (None, found):
        raise InputError(f"checkpoint {path}: found {found} classes, valid: {n_classes}, those of the data.")
    classifier = Classifier(model, input, found, mode=mode, streams=streams)
    wanted, width = classifier.state_dict()[key].shape[1], state[key].shape[1]
    if width != wanted and {width, wanted} == {model.embed_dim, 2 * model.embed_dim}:
        raise InputError(
            f"checkpoint {path}: found a head that reads {width} values, valid: {wanted}, those of task.streams="
            f"{streams} in mode {mode}; SM alone reads two streams end to end."
        )
    try:
        load_weights(classifier, state)
    except InputError as error:
        raise InputError(f"checkpoint {path}: {error}") from None
    return classifier


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
