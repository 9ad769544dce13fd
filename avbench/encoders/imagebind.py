"""ImageBind by its package's public interface: three stretches of two seconds of a sound, pictures one by one."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from avbench.encoders.base import Encoder
from avbench.encoders.needed import needed

_MEAN, _STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # of pictures, as CLIP's
_SOUND = (-4.268, 9.138)  # mean and standard deviation of its log-mels
_STRETCHES, _SECONDS = 3, 2
_FIX = "pip install git+https://github.com/facebookresearch/ImageBind brings it"


class ImageBind(Encoder):
    """ImageBind (huge), through the package imagebind.

    ``--checkpoint`` is the authors' imagebind_huge.pth; without it the package fetches its own.
    """

    name = "imagebind"
    image = (224, 224)

    def revision(self) -> str:
        """Returns nothing: its one set of weights is known by its name. Without the package it is refused here."""
        needed("imagebind.models.imagebind_model", self.name, _FIX)
        return ""

    def load(self, device: str, checkpoint: Path | None = None) -> None:
        """Loads model and preprocessing."""
        models = needed("imagebind.models.imagebind_model", self.name, _FIX)
        self.spectrogram = needed("imagebind.data", self.name, _FIX).waveform2melspec
        self.kinds = models.ModalityType
        self.model = models.imagebind_huge(pretrained=checkpoint is None)
        if checkpoint is not None:
            self.model.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True))
        self.model.to(device).eval()

    def audio(self, waves: list[Tensor], rate: int) -> Tensor:
        """Returns the mean over the stretches, (B, D)."""
        found = []
        for wave in waves:
            last = max(0, len(wave) - _SECONDS * rate)
            starts = [round(last * k / (_STRETCHES - 1)) for k in range(_STRETCHES)]
            parts = [wave[None, start : start + _SECONDS * rate].cpu() for start in starts]
            found.append(torch.stack([self.spectrogram(part, rate, 128, 204) for part in parts]))
        mean, std = _SOUND
        inputs = (torch.stack(found).to(waves[0].device) - mean) / std  # (B, S, 1, 128, 204)
        embedded: Tensor = self.model({self.kinds.AUDIO: inputs})[self.kinds.AUDIO]
        return embedded

    def visual(self, frames: list[Tensor], times: list[Tensor]) -> Tensor:
        """Returns the embedding of each frame, (B, F, D)."""
        pictures = torch.stack(frames)
        mean, std = (torch.tensor(each, device=pictures.device)[:, None, None] for each in (_MEAN, _STD))
        pixels = (pictures.flatten(0, 1).permute(0, 3, 1, 2).float() / 255 - mean) / std
        found: Tensor = self.model({self.kinds.VISION: pixels})[self.kinds.VISION]
        return found.view(*pictures.shape[:2], -1)
