"""The fine-tuning models: a method's encoder and a head (paper 2.4 and 4.1)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, cast, get_args

import torch
from torch import Tensor

from avbench.config import InputConfig, ModelConfig
from avbench.errors import InputError, unknown
from avbench.methods.base import Method
from avbench.methods.encoder import Encoder
from avbench.methods.family import FamilyMethod
from avbench.methods.heads import KEYS, ClassHead, HeadKind
from avbench.methods.place import first_values
from avbench.methods.published import Published
from avbench.methods.streams import differs_from_previous
from avbench.methods.vit import uninitialised

Mode = Literal["multimodal", "audioonly", "videoonly", "missingaudioonly", "missingvideoonly"]
MODES: tuple[str, ...] = get_args(Mode)
Streams = Literal["MM", "SM", "MM+SM"]
_SOUNDLESS, _BLIND = ("videoonly", "missingvideoonly"), ("audioonly", "missingaudioonly")
_PRETRAINING = ("decoder_*", "mask_token", "constrative_head_*")  # keys of a method that fine-tuning leaves behind


class Classifier(Published):
    """Class logits from sound, frame or both: an encoder and a head.

    Args:
        encoder: Whose tokens the head reads; built without values.
        n_classes: Logits per clip.
        mode: The mode it is built for; some heads of some encoders read more in mode multimodal.
        streams: What the head reads in mode multimodal; see :meth:`avbench.methods.encoder.Encoder.summary`.
        head: See :class:`~avbench.methods.heads.ClassHead`.
        n_frames: Frames a clip, for the head ``concat``.
        seed: Seed of the first weights.

    Raises:
        InputError: Sizes that do not fit each other.
    """

    def __init__(
        self,
        encoder: Encoder,
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
        with uninitialised():
            width = encoder.summary_width(mode, head=head, streams=self.streams)
            self.head = ClassHead(head, encoder.model_config, width, n_classes, n_frames)
        first_values(self, seed)

    @property
    def missing_modes(self) -> tuple[str, ...]:
        """The modes in which a model of both modalities is tested with one."""
        return () if self.streams == "SM" else self.encoder.missing_modes

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
        valid = (*(name for name in MODES if not name.startswith("missing")), *self.missing_modes)
        if mode not in valid:
            raise unknown("mode", mode, valid)
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
        encoder = self.encoder
        row: Tensor | None = None
        if sound is not None and several:
            new = differs_from_previous(sound)
            row, sound = new.cumsum(dim=0) - 1, sound[new]
        audio = None if sound is None else encoder.encode("audio", encoder.of("audio").tokens(sound))
        if frame is None:
            vectors = self._summary(audio, None, mode)
            return vectors if row is None else vectors[row]
        if audio is not None and row is not None:
            audio = audio[row]
        return self._summary(audio, encoder.encode("visual", encoder.of("visual").tokens(frame)), mode)

    def _summary(self, audio: Tensor | None, visual: Tensor | None, mode: str) -> Tensor:
        return self.encoder.summary(audio, visual, mode, head=self.head.kind, streams=self.streams)


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
    from avbench.training.checkpoints import load_weights

    encoder = encoder_to_finetune(method)
    kind = encoder.default_head if head == "auto" else head
    model = Classifier(encoder, n_classes, mode=mode, streams=streams, head=kind, n_frames=n_frames, seed=seed)
    keys = [f"{key}*" for key in KEYS]
    load_weights(model, method.state_dict(), allow_missing=keys, allow_unexpected=_PRETRAINING)
    return model


def encoder_to_finetune(method: Method) -> Encoder:
    """Returns an encoder like a method's, without values, whose position tables are trained.

    Raises:
        InputError: The method has no encoder of tokens, or one whose copy would encode otherwise.
    """
    if not isinstance(method, FamilyMethod):
        raise InputError(f"method {method.name}: found no encoder of tokens, valid for fine-tuning: methods with one.")
    with uninitialised():
        encoder = method.encoder.copy_for_finetuning()
    if type(encoder) is not type(method.encoder):
        raise InputError(
            f"method {method.name}: {type(method.encoder).__name__}.copy_for_finetuning: found a"
            f" {type(encoder).__name__}, which encodes otherwise, valid: an encoder of its own class; define it, or use"
            " linear_probe, which asks the method."
        )
    return encoder


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
    with uninitialised():
        encoder = Encoder(model, input, trainable_positions=True)
    classifier = Classifier(encoder, found, mode=mode, streams=streams)
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
