"""What anybody derives from to have an encoder judged: as many of the functions below as it has."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class Encoder:
    """An encoder of sound, picture or both; it knows nothing of spectrograms, training or checkpoints of ours.

    A subclass says by its attributes what it hears and sees, and by the functions it defines what it can. It need not
    be a module of torch. Its constructor's arguments, which all have defaults, are what ``--set encoder.KEY=VALUE``
    sets; it may set the attributes. Functions get lists, one element a clip, and return tensors of any kind of number:

    - ``audio(waves, rate)``: (samples,) tensors -> (B, D), or (B, F, D) with a vector for each of F times
    - ``visual(frames, times)``: (F, H, W, 3) uint8 tensors and (F,) seconds -> (B, D), or (B, F, D)
    - ``joint(waves, rate, frames, times)`` -> (B, D) or (B, F, D) of both together, for probes
    - ``patches(frames, times)`` -> (B, h, w, D) of one picture, or (B, F, h, w, D), for localization
    - ``audio_tokens(waves, rate)`` -> (B, T, D), whose mean localization compares with patches; without it ``audio``
    - ``similarity(audio, visual)``: (A, F, D) and (V, G, D) -> (A, V), where retrieval is not by cosine
    - ``prepare_audio(wave, rate)`` and ``prepare_visual(frames, times)``: of one clip, computed in the processes that
      read; what they return stands in the lists in place of the tensor

    Attributes:
        sample_rate: Samples per second that it hears.
        channels: 1, mono, or 2: sounds are (2, samples).
        seconds: It hears no more of a clip than that; shorter sounds are not padded. None: all of it.
        frames: Pictures of a clip, evenly spread.
        image: Height and width of a picture, resized and cut from the middle; None: as they are.
        batch_size: Clips a call.
        random: Its weights are drawn anew with each seed; False: they are the same for every seed.
        trainable: A module of torch that classification may fine-tune, with gradients through these functions.
    """

    sample_rate: int = 16_000
    channels: int = 1
    seconds: float | None = 10.0
    frames: int = 1
    image: tuple[int, int] | None = None
    batch_size: int = 16
    random: bool = False
    trainable: bool = False

    def revision(self) -> str:
        """Returns what else decides its numbers, such as the commit of weights that it loads by itself; part of ids."""
        return ""

    def load(self, device: str, checkpoint: Path | None = None) -> Any:
        """Makes it ready to compute; a module of torch is brought to the device and into evaluation mode afterwards.

        Args:
            device: ``cpu`` or ``cuda``.
            checkpoint: The file of ``--checkpoint``; None: none was given.
        """
        if checkpoint is not None:
            raise NotImplementedError(f"{type(self).__name__} defines no load(device, checkpoint), and reads no file")
