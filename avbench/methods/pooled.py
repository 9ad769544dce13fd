"""What fine-tuning asks of an encoder, and how any method with a vector for each stream answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from avbench.config import InputConfig, ModelConfig
from avbench.errors import InputError
from avbench.methods.positions import audio_rows

_READ = {"MM": ("joint",), "SM": ("audio", "visual"), "MM+SM": ("joint", "audio", "visual")}


class FinetunedEncoder(Protocol):
    """What :class:`avbench.methods.classifier.Classifier` puts a head on: a module that offers this, of any type.

    Attributes:
        model_config: Sizes of the blocks of a head with attention.
        default_head: Which head ``task.head=auto`` means.
    """

    model_config: ModelConfig
    default_head: ClassVar[Literal["linear", "attention"]]

    def summary_width(self, mode: str, *, head: str, streams: str) -> int:
        """Returns W of :meth:`summary`, in the mode that the model is built for.

        Args:
            mode: The mode that the model is built for.
            head: Which head reads it.
            streams: See :meth:`summary`.

        Raises:
            InputError: Streams that there are not, or that such a head does not read.
        """
        ...

    def summary(
        self, audio: Tensor | None, visual: Tensor | None, row: Tensor | None, mode: str, *, head: str, streams: str
    ) -> Tensor:
        """Returns what a head reads of N clips or frames, (N, W) (paper 2.4 and Table 2f).

        Args:
            audio: Sounds, (K, T, M), or None where the mode does not use them.
            visual: (N, 3, H, W), or None likewise.
            row: (N,) which of the K sounds is whose, where equal ones are given once; None: each has its own.
            mode: One of :data:`avbench.methods.classifier.MODES`.
            head: Which head reads it.
            streams: In mode multimodal, the joint stream (MM), the two single streams end to end (SM), or the sum of
                all three (MM+SM).
        """
        ...


class HasVectors(Protocol):
    """A method that gives a vector for each stream."""

    model_config: ModelConfig
    input_config: InputConfig

    def vectors(self, audio: Tensor | None, visual: Tensor | None) -> dict[str, Tensor]:
        """See :meth:`avbench.methods.base.Method.vectors`."""
        ...


class PooledEncoder(nn.Module):
    """A method as fine-tuning reads it: the vectors of its streams, with gradient.

    A sound or frame that a mode does not use is given as zeros: the stream of the other does not depend on it. One that
    is missing is zeros, too, and the streams of both are read.

    Args:
        method: With its weights; fine-tuned in place.
    """

    default_head: ClassVar[Literal["linear", "attention"]] = "linear"

    def __init__(self, method: HasVectors) -> None:
        super().__init__()
        self.method = method
        self.model_config, self._input = method.model_config, method.input_config

    def summary_width(self, mode: str, *, head: str, streams: str) -> int:
        """Returns the width of one clip's vector; see :class:`FinetunedEncoder`."""
        device = next((each.device for each in self.parameters()), torch.get_default_device())
        one = torch.zeros(1, device=device)
        sound = None if mode == "videoonly" else self._silence(one)
        frame = None if mode == "audioonly" else self._darkness(one)
        training = self.training
        self.eval()  # a layer that learns from what it sees learns nothing of zeros
        with torch.no_grad():
            width = self.summary(sound, frame, None, mode, head=head, streams=streams).shape[-1]
        self.train(training)
        return width

    def summary(
        self, audio: Tensor | None, visual: Tensor | None, row: Tensor | None, mode: str, *, head: str, streams: str
    ) -> Tensor:
        """Returns vectors of the streams that a head reads, (N, W); see :class:`FinetunedEncoder`.

        Raises:
            InputError: The method gives no such vectors, or gives them without gradient.
        """
        if audio is not None and row is not None:
            audio = audio[row]
        given = next(each for each in (visual, audio) if each is not None)
        found = self.method.vectors(
            self._silence(given) if audio is None else audio, self._darkness(given) if visual is None else visual
        )
        alone = {"audioonly": ("audio",), "videoonly": ("visual",)}.get(mode, ())
        parts = [self._vector(found, name, streams) for name in alone or _READ[streams]]
        vectors = torch.stack(parts).sum(dim=0) if streams == "MM+SM" and not alone else torch.cat(parts, dim=-1)
        if torch.is_grad_enabled() and not vectors.requires_grad:
            raise InputError(
                f"{type(self.method).__name__}.vectors: found no gradient, valid: one, to fine-tune; or"
                " --set task.freeze=true, which trains the head alone."
            )
        return vectors

    def _vector(self, found: Mapping[str, Tensor], name: str, streams: str) -> Tensor:
        if name in found:
            return found[name]
        other = " --set task.streams=SM reads the two single streams." if {"audio", "visual"} <= found.keys() else ""
        raise InputError(
            f"{type(self.method).__name__}.vectors: found {', '.join(found) or 'none'}, valid: {name} among them, which"
            f" a head reads with task.streams={streams}.{other}"
        )

    def _silence(self, like: Tensor) -> Tensor:
        """Returns a spectrogram of zeros for each clip, (N, T, M)."""
        return like.new_zeros(len(like), audio_rows(self._input), self._input.n_mels)

    def _darkness(self, like: Tensor) -> Tensor:
        """Returns a frame of zeros for each clip, (N, 3, H, W)."""
        side = self._input.image_size
        return like.new_zeros(len(like), len(self._input.image_mean), side, side)
