"""Anybody's encoder as fine-tuning reads it: its vectors, with gradient, under the head that methods get."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor, nn

from avbench.config import ModelConfig
from avbench.data.corpus.clips import Clips
from avbench.data.feed.augment import Augment
from avbench.data.feed.heard import HeardClips
from avbench.data.feed.heard_training import HeardFeed, Several
from avbench.data.wants import Wants
from avbench.errors import RAISED, AvbenchError, InputError, RunError
from avbench.methods.classifier import Classifier
from avbench.registry.encoders import defines, told

_SOUNDLESS, _BLIND = ("videoonly", "missingvideoonly"), ("audioonly", "missingaudioonly")
_SIDE = 224  # of a picture whose size the encoder leaves open, pixels


class Hearing(Protocol):
    """What fine-tuning needs of an encoder with its weights; see :class:`avbench.encoders.adapted.Adapted`."""

    encoder: Any
    wants: Wants
    device: str
    shown: str
    file: Path

    @property
    def prepare(self) -> dict[str, Callable[..., Any]]:
        """What its ``prepare_`` functions do to one clip."""

    def heard(self, clips: Clips) -> HeardClips:
        """Returns what reads clips for it."""


class HeardEncoder(nn.Module):
    """What a head reads of an encoder: a vector of sound, of picture, or of both.

    Of both together it is ``joint`` or, where there is none, the two end to end. Several vectors of a clip are
    averaged. A modality that is missing is given as silence, or as black pictures.

    Args:
        encoder: A module of torch with the weights to start from; trained in place.
    """

    default_head: ClassVar[Literal["linear", "attention"]] = "linear"

    def __init__(self, encoder: Hearing) -> None:
        super().__init__()
        self.module = encoder.encoder
        self.model_config = ModelConfig()
        self.adapted = [encoder]  # in a list, so that it is no part of the state

    def summary_width(self, mode: str, *, head: str, streams: str) -> int:
        """Returns the width of one clip's vector; see :class:`avbench.methods.pooled.FinetunedEncoder`."""
        if head != "linear":
            raise InputError(f"task.head: found {head}, valid with an encoder: linear.")
        training = self.training
        self.eval()  # a layer that learns from what it sees learns nothing of silence
        with torch.no_grad():
            width = self.summary(self.silence(1), self.darkness(1), None, mode, head=head, streams=streams).shape[-1]
        self.train(training)
        return width

    def summary(self, audio: Any, visual: Any, row: Tensor | None, mode: str, *, head: str, streams: str) -> Tensor:
        """Returns vectors, (N, W); see :class:`avbench.methods.pooled.FinetunedEncoder`.

        Args:
            audio: Sounds of N clips, or None.
            visual: Pictures of N clips, or None.
            row: None.
            mode: One of :data:`avbench.methods.classifier.MODES`.
            head: Which head reads it.
            streams: In mode multimodal both together (MM), the two end to end (SM), or the sum of all three (MM+SM).
        """
        heard = (audio.items, self.adapted[0].wants.sample_rate) if audio is not None else ()
        seen = (visual.items, visual.times) if visual is not None else ()
        if mode == "audioonly":
            return self._vector("audio", *heard)
        if mode == "videoonly":
            return self._vector("visual", *seen)
        if streams == "MM" and self._joint:
            return self._vector("joint", *heard, *seen)
        apart = [self._vector("audio", *heard), self._vector("visual", *seen)]
        if streams != "MM+SM":
            return torch.cat(apart, dim=-1)
        if not self._joint:
            raise InputError(f"task.streams: found {streams}, valid with an encoder without joint: MM, SM.")
        return torch.stack([self._vector("joint", *heard, *seen), *apart]).sum(dim=0)

    @property
    def _joint(self) -> bool:
        return defines(self.module, "joint")

    def _vector(self, name: str, *arguments: Any) -> Tensor:
        """Returns one vector a clip, (N, W).

        Raises:
            InputError: It has no gradient.
            RunError: The encoder fails, or returns something else.
        """
        called = f"encoder {self.adapted[0].shown}: {name}"
        try:
            found = getattr(self.module, name)(*arguments)
        except AvbenchError:
            raise
        except torch.OutOfMemoryError:
            raise
        except RAISED as error:
            raise RunError(f"{called} failed in fine-tuning: {told(error, self.adapted[0].file)}.") from error
        count = len(arguments[0])
        if not isinstance(found, Tensor) or found.ndim not in (2, 3) or len(found) != count:
            shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise RunError(f"{called} returned {shape}, valid: (B, D) or (B, F, D) for B = {count} clips.")
        if torch.is_grad_enabled() and not found.requires_grad:
            raise InputError(
                f"{called}: found no gradient, valid: one, to fine-tune; or --set task.freeze=true, which trains"
                " the head alone."
            )
        return found if found.ndim == 2 else found.mean(dim=1)

    def silence(self, count: int) -> Several:
        """Returns sounds of nothing."""
        wants = self.adapted[0].wants
        samples = round((wants.seconds or 10.0) * wants.sample_rate)
        wave = torch.zeros(samples) if wants.channels == 1 else torch.zeros(wants.channels, samples)
        return self._several("audio", wave, wants.sample_rate, [], count)

    def darkness(self, count: int) -> Several:
        """Returns pictures of nothing."""
        wants = self.adapted[0].wants
        pictures = torch.zeros(wants.frames, *(wants.image or (_SIDE, _SIDE)), 3, dtype=torch.uint8)
        times = torch.arange(wants.frames) + 0.5
        return self._several("visual", pictures, times, [times], count)

    def _several(self, name: str, value: Tensor, beside: Any, times: list[Tensor], count: int) -> Several:
        prepare = self.adapted[0].prepare.get(name)
        one = value if prepare is None else prepare("nothing", value, beside)
        return Several([one] * count, times * count).to(self.device)

    @property
    def device(self) -> str:
        """Where it computes."""
        return str(next((each.device for each in self.parameters()), torch.device(self.adapted[0].device)))


class EncoderClassifier(Classifier):
    """Class logits from anybody's encoder and a linear head; arguments as for :class:`Classifier`."""

    encoder: HeardEncoder

    def forward(self, audio: Any, visual: Any, mode: str = "multimodal") -> Tensor:
        """Returns logits, (B, C).

        Args:
            audio: Sounds of B clips; None in modes that do not use them.
            visual: Pictures of B clips, likewise.
            mode: One of :data:`~avbench.methods.classifier.MODES`.
        """
        count = len(audio) if audio is not None else len(visual)
        if mode.startswith("missing"):
            audio = self.encoder.silence(count) if mode in _SOUNDLESS else audio
            visual = self.encoder.darkness(count) if mode in _BLIND else visual
        read = "multimodal" if mode.startswith("missing") else mode
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            vectors = self.encoder.summary(audio, visual, None, read, head="linear", streams=self.streams)
        logits: Tensor = self.head(vectors.float())
        return logits

    def feed(self, clips: Clips, *, augment: Augment | None, seed: int, workers: int) -> HeardFeed:
        """Returns what gives it batches.

        Args:
            clips: The clips.
            augment: Mixing and targets; None: neither.
            seed: Of all draws.
            workers: Processes that read.
        """
        return HeardFeed(self.encoder.adapted[0].heard(clips), augment=augment, seed=seed, workers=workers)
