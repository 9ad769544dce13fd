"""PE-AV (Perception Encoder, audio-visual) through transformers: ``PeAudioVideoModel``.

Sounds and videos are compared by the dot product of their embeddings, as its own loss does. A patch is embedded as a
video whose only frame shows what the patch's token says: the token takes the frame's way through head and encoder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from avbench.encoders.base import Encoder
from avbench.encoders.needed import needed
from avbench.errors import InputError
from avbench.training.hub import revision_of

_FIX = "pip install 'avbench[encoders]' brings it"


class PeAv(Encoder):
    """PE-AV: Perception Encoder, audio-visual, through transformers.

    Args:
        model: A model on the hub, or a folder that ``save_pretrained`` wrote.
        revision: Of a model on the hub: branch, tag or commit.
    """

    name = "pe_av"
    sample_rate = 48_000
    frames = 16
    batch_size = 4

    def __init__(self, model: str = "facebook/pe-av-large", revision: str = "main") -> None:
        self.place, self.commit = model, revision

    def revision(self) -> str:
        """Returns the commit of the weights, or the hash of a folder's files."""
        needed("transformers", self.name, _FIX)
        return revision_of(self.place, self.commit)

    def load(self, device: str, checkpoint: Path | None = None) -> None:
        """Loads model and preprocessing; a checkpoint is none of its kinds of files."""
        if checkpoint is not None:
            raise InputError("--checkpoint: not used with pe_av, valid: --set encoder.model=FOLDER.")
        transformers = needed("transformers", self.name, _FIX)
        sounds = needed("transformers.models.pe_audio.feature_extraction_pe_audio", self.name, _FIX)
        videos = needed("transformers.models.pe_video.video_processing_pe_video", self.name, _FIX)
        where = {"pretrained_model_name_or_path": self.place, "revision": self.commit}
        self.model = transformers.PeAudioVideoModel.from_pretrained(**where).to(device).eval()
        self.hear = sounds.PeAudioFeatureExtractor.from_pretrained(**where)
        self.see = videos.PeVideoVideoProcessor.from_pretrained(**where)

    def prepare_visual(self, frames: Tensor, times: Tensor) -> Tensor:
        """Returns (F, 3, H, W), resized and normalised as the model's own preprocessing does."""
        video = frames.permute(0, 3, 1, 2)
        found = self.see([video], return_tensors="pt", do_sample_frames=False)["pixel_values_videos"]
        return torch.as_tensor(found)[0]

    def audio(self, waves: list[Tensor], rate: int) -> Tensor:
        """Returns the embeddings of sounds, (B, D)."""
        head = self.model.audio_model.audio_head
        return torch.cat([head(self._sounds(part, rate).pooler_output) for part in _alike(waves)])

    def visual(self, frames: list[Tensor], times: list[Tensor]) -> Tensor:
        """Returns the embeddings of videos, (B, D)."""
        return self._embedded(self._videos(torch.stack(frames)))

    def joint(self, waves: list[Tensor], rate: int, frames: list[Tensor], times: list[Tensor]) -> Tensor:
        """Returns the embeddings of both together, (B, D); arguments as for :meth:`audio` and :meth:`visual`."""
        found, first = [], 0
        for part in _alike(waves):
            videos = torch.stack(frames[first : first + len(part)])
            inputs = {**self._inputs(part, rate), "pixel_values_videos": videos}
            found.append(self.model.get_audio_video_embeds(**inputs).audio_video_embeds)
            first += len(part)
        return torch.cat(found)

    def patches(self, frames: list[Tensor], times: list[Tensor]) -> Tensor:
        """Returns the embeddings of patches, (B, F, h, w, D)."""
        videos = torch.stack(frames)
        vision = self.model.video_model.video_encoder.embedder.vision_model.timm_model
        rows, columns = vision.patch_embed.grid_size
        tokens = vision.forward_features(videos.flatten(0, 1))[:, vision.num_prefix_tokens :]  # (B F, P, C)
        alone = vision.forward_head(tokens.flatten(0, 1)[:, None])[:, None]  # (B F P, 1, labels): videos of one frame
        found = self._embedded(self._videos(None, torch.nn.functional.normalize(alone, dim=-1)))
        return found.view(*videos.shape[:2], rows, columns, -1)

    def similarity(self, audio: Tensor, visual: Tensor) -> Tensor:
        """Returns dot products: its loss scales them and adds a constant, which orders them alike."""
        return audio[:, 0] @ visual[:, 0].T

    def _inputs(self, waves: list[Tensor], rate: int) -> dict[str, Tensor]:
        device = waves[0].device
        arrays = [wave.cpu().numpy() for wave in waves]
        found = self.hear(arrays, sampling_rate=rate, return_tensors="pt")
        return {name: torch.as_tensor(value).to(device) for name, value in found.items()}

    def _sounds(self, waves: list[Tensor], rate: int) -> Any:
        return self.model.audio_model.audio_encoder(**self._inputs(waves, rate))

    def _videos(self, pixels: Tensor | None, logits: Tensor | None = None) -> Tensor:
        """Returns what the encoder makes of videos, or of what its picture model says of their frames, (B, W)."""
        encoder = self.model.video_model.video_encoder
        if logits is None:
            found: Tensor = encoder(pixel_values_videos=pixels).pooler_output
            return found
        embedder, before = encoder.embedder, encoder.embedder.forward
        embedder.forward = lambda values, padding_mask=None: (embedder.data_proj(embedder.proj(values)), padding_mask)
        try:
            parts = [encoder(pixel_values_videos=part).pooler_output for part in torch.split(logits, 1024)]
        finally:
            embedder.forward = before
        return torch.cat(parts)

    def _embedded(self, pooled: Tensor) -> Tensor:
        found: Tensor = self.model.video_model.video_head(pooled)
        return found


def _alike(waves: list[Tensor]) -> list[list[Tensor]]:
    """Returns sounds in runs of equal length: padding would be heard at the ends of the shorter ones."""
    runs: list[list[Tensor]] = []
    for wave in waves:
        if runs and runs[-1][0].shape == wave.shape:
            runs[-1].append(wave)
        else:
            runs.append([wave])
    return runs
