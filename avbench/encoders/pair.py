"""One encoder of any two models of one modality: a picture model of timm, and a sound model of transformers."""

from __future__ import annotations

from pathlib import Path

import timm
import torch
from timm.data import resolve_model_data_config
from torch import Tensor

from avbench.encoders.base import Encoder
from avbench.encoders.needed import needed
from avbench.errors import InputError
from avbench.training.hub import revision_of

_FIX = "pip install 'avbench[encoders]' brings it"


class Pair(Encoder):
    """A picture model of timm and a sound model of transformers, side by side: for probes, apart and together.

    Args:
        picture_model: Of timm.
        sound_model: Of transformers, on the hub or in a folder, that takes waveforms.
        pretrained: False: the picture model's first values, a function of the seed.
    """

    name = "pair"

    def __init__(
        self,
        picture_model: str = "vit_small_patch16_224.augreg_in21k_ft_in1k",
        sound_model: str = "facebook/wav2vec2-base",
        pretrained: bool = True,
    ) -> None:
        self.picture_model, self.sound_model, self.pretrained = picture_model, sound_model, pretrained
        self.random = not pretrained
        if not timm.is_model(picture_model.partition(".")[0]):
            raise InputError(f"encoder.picture_model: found {picture_model}, valid: a model of timm.")
        found = timm.get_pretrained_cfg(picture_model)
        self.image = (224, 224) if found is None else (found.input_size[1], found.input_size[2])

    def revision(self) -> str:
        """Returns the commit of the sound model, or the hash of its files; timm's weights have their name."""
        needed("transformers", self.name, _FIX)
        return revision_of(self.sound_model, "main")

    def load(self, device: str, checkpoint: Path | None = None) -> None:
        """Loads both; a checkpoint is the picture model's, as timm reads it."""
        models = needed("transformers", self.name, _FIX)
        where = {} if checkpoint is None else {"checkpoint_path": str(checkpoint)}
        fetched = self.pretrained and not where
        self.see = timm.create_model(self.picture_model, pretrained=fetched, num_classes=0, **where)
        self.see.to(device).eval()
        config = resolve_model_data_config(self.see)
        self.mean, self.std = (torch.tensor(config[name], device=device)[:, None, None] for name in ("mean", "std"))
        self.hear = models.AutoModel.from_pretrained(self.sound_model).to(device).eval()
        self.prepare = models.AutoFeatureExtractor.from_pretrained(self.sound_model)

    def audio(self, waves: list[Tensor], rate: int) -> Tensor:
        """Returns the mean of the last layer, of each sound by itself: nothing is padded."""
        found = []
        for wave in waves:
            inputs = self.prepare(wave.cpu().numpy(), sampling_rate=rate, return_tensors="pt").to(wave.device)
            found.append(self.hear(**inputs).last_hidden_state.mean(dim=1))
        return torch.cat(found)

    def visual(self, frames: list[Tensor], times: list[Tensor]) -> Tensor:
        """Returns what the picture model pools, of each frame."""
        pictures = torch.stack(frames)
        pixels = pictures.flatten(0, 1).permute(0, 3, 1, 2).float() / 255
        found: Tensor = self.see((pixels - self.mean) / self.std)
        return found.view(*pictures.shape[:2], -1)

    def joint(self, waves: list[Tensor], rate: int, frames: list[Tensor], times: list[Tensor]) -> Tensor:
        """Returns both end to end; arguments as for :meth:`audio` and :meth:`visual`."""
        return torch.cat([self.audio(waves, rate), self.visual(frames, times).mean(dim=1)], dim=-1)
