"""Fine-tuning models of encoders other than CAV-MAE's, and building one from a method (facts/cavmae_sync.md 1.9)."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, cast

import torch
from torch import Tensor, nn

from avbench.config import InputConfig, ModelConfig
from avbench.errors import InputError
from avbench.methods.base import Method
from avbench.methods.cavmae_sync import CavMaeSync, CavMaeSyncConfig
from avbench.methods.classifier import Classifier, FinetuningModel, Streams
from avbench.methods.encoder import AudioVisualEncoder
from avbench.methods.heads import KEYS, HeadKind
from avbench.methods.sync_encoder import SyncEncoder
from avbench.methods.tokens import MODALITIES
from avbench.methods.vanilla_avmae import VanillaAvMae
from avbench.methods.vit import Stream, encoder_blocks, uninitialised

_PRETRAINING = ("decoder_*", "mask_token", "constrative_head_*")  # keys of a method that fine-tuning leaves behind


class JointClassifier(FinetuningModel):
    """One encoder over the tokens of both modalities, or of the only one, and a head: Vanilla AV-MAE and its parts.

    Args:
        model: Sizes of the transformers; blocks are ``modality_depth + joint_depth``.
        input: Sizes of spectrogram and frame.
        n_classes: Logits per clip.
        modalities: Those it takes.
        mode: The mode it is built for.
        seed: Seed of the first weights.
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
        modalities: tuple[str, ...] = MODALITIES,
        mode: str = "multimodal",
        seed: int = 0,
        streams: Streams = "MM",
        head: HeadKind = "linear",
        n_frames: int = 1,
    ) -> None:
        with uninitialised():
            super().__init__(model, input, modalities=modalities, trainable_positions=True)
            width = self.read_streams(streams, mode, model.embed_dim)
            self.blocks_u = encoder_blocks(model, model.modality_depth + model.joint_depth, modality_norms=False)
            self.norm = nn.LayerNorm(model.embed_dim)
            self.add_head(head, model, width, n_classes, n_frames)
        self.initialise(seed)

    def joint(self, tokens: Tensor, stream: Stream) -> Tensor:
        """Returns tokens after the encoder and its LayerNorm, the same for every stream, (B, N, D)."""
        out: Tensor = self.norm(self.blocks_u(tokens))
        return out


class SyncClassifier(FinetuningModel, SyncEncoder):
    """CAV-MAE Sync's encoder and a head; without the blocks before the contrast.

    With ``attention`` or ``concat`` a frame's vector in mode multimodal is its two global tokens side by side, as they
    leave the modality encoders; with one modality it is the mean of all tokens after the joint encoder. A ``linear``
    head reads the joint stream's mean patch, or the modality's global token (or mean patch). Of one modality the joint
    encoder takes its plain LayerNorms, as in the authors' code. ``missing*`` modes are not defined.

    Args:
        config: Tokens and norms.
        model: Sizes of the transformers.
        input: Sizes of spectrogram and frame.
        n_classes: Logits per clip.
        mode: The mode it is built for: the head is twice as wide over both modalities' global tokens.
        seed: Seed of the first weights.
        streams: See :class:`FinetuningModel`; only the linear head looks at it.
        head: See :class:`~avbench.methods.heads.ClassHead`.
        n_frames: Frames a clip, for the head ``concat``.

    Raises:
        InputError: Sizes that do not fit each other.
    """

    @property
    def missing_modes(self) -> tuple[str, ...]:
        """None."""
        return ()

    def __init__(
        self,
        config: CavMaeSyncConfig,
        model: ModelConfig,
        input: InputConfig,
        n_classes: int,
        *,
        mode: str = "multimodal",
        seed: int = 0,
        streams: Streams = "MM",
        head: HeadKind = "attention",
        n_frames: int = 1,
    ) -> None:
        with uninitialised():
            super().__init__(model, input, trainable_positions=True, modality_norms=config.modality_norms)
            self.config = replace(config, head_depth=0)
            self.add_registers()
            self.add_global_tokens()
            width = self.read_streams(streams if head == "linear" else "MM", mode, model.embed_dim)
            width *= 2 if mode == "multimodal" and head != "linear" else 1
            self.add_head(head, model, width, n_classes, n_frames)
        self.initialise(seed)

    def read(self, audio: Tensor | None, visual: Tensor | None, mode: str) -> Tensor:
        """Returns what the head reads of encoded tokens, (N, W); see the class.

        Raises:
            InputError: A ``missing*`` mode, or one of one modality where the head reads both single streams.
        """
        if mode.startswith("missing"):
            raise InputError(f"mode: found {mode} for CAV-MAE Sync, valid: multimodal, audioonly, videoonly.")
        if audio is not None and visual is not None:
            if self.head == "linear":
                return super().read(audio, visual, mode)
            return torch.cat([self.pool(audio), self.pool(visual)], dim=-1)
        if self.streams_read == "SM":
            return super().read(audio, visual, mode)
        tokens = self.joint(cast(Tensor, audio if audio is not None else visual), "joint")
        if self.config.keep_registers:
            tokens = self._without_registers(tokens)
        return self.pool(tokens) if self.head == "linear" else tokens.mean(dim=1)


def build_classifier(
    method: Method,
    n_classes: int,
    *,
    mode: str,
    head: Literal["auto", "linear", "attention", "concat"] = "auto",
    streams: Streams = "MM",
    n_frames: int = 1,
    seed: int = 0,
) -> FinetuningModel:
    """Returns the fine-tuning model of a method, with the method's weights and a new head.

    Args:
        method: With the weights to start from; not changed.
        n_classes: Logits per clip.
        mode: What it will be trained in.
        head: ``auto``: attention for CAV-MAE Sync, linear for the others.
        streams: See :class:`FinetuningModel`.
        n_frames: Frames a clip, for the head ``concat``.
        seed: Seed of the head's first weights.

    Raises:
        InputError: The method has no such model or no such streams, or its weights do not fit.
    """
    from avbench.training.checkpoints import load_weights

    kind: HeadKind = head if head != "auto" else "attention" if isinstance(method, CavMaeSync) else "linear"
    sizes = (method.model_config, method.input_config, n_classes)
    model: FinetuningModel
    if isinstance(method, CavMaeSync):
        if streams != "MM" and kind != "linear" and mode == "multimodal":
            raise InputError(
                f"task.streams: found {streams}, valid with CAV-MAE Sync's head {kind}: MM; it reads both global tokens"
                " as they leave the modality encoders. Other streams take task.head=linear."
            )
        model = SyncClassifier(
            method.config, *sizes, mode=mode, seed=seed, streams=streams, head=kind, n_frames=n_frames
        )
    elif isinstance(method, VanillaAvMae):
        taken = method.modalities
        model = JointClassifier(
            *sizes, modalities=taken, mode=mode, seed=seed, streams=streams, head=kind, n_frames=n_frames
        )
    elif isinstance(method, AudioVisualEncoder):
        norms = method.modality_norms
        model = Classifier(
            *sizes, modality_norms=norms, mode=mode, seed=seed, streams=streams, head=kind, n_frames=n_frames
        )
    else:
        raise InputError(f"method {method.name}: found a model without CAV-MAE's tokens, which cannot be fine-tuned.")
    keys = [f"{key}*" for key in KEYS]
    load_weights(model, method.state_dict(), allow_missing=keys, allow_unexpected=_PRETRAINING)
    return model
