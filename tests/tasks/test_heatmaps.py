"""Maps from tokens, and their upsampling, against torch and brute force."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from avbench.errors import InputError
from avbench.tasks.localizing import heatmaps
from avbench.tasks.localizing.overlay import Tile, blended, outline, write_sheet

TORCH = {
    "bilinear": {"mode": "bilinear", "align_corners": False},
    "bilinear_corners": {"mode": "bilinear", "align_corners": True},
    "bicubic_corners": {"mode": "bicubic", "align_corners": True},
}


@pytest.mark.parametrize("kind", heatmaps.UPSAMPLINGS)
@pytest.mark.parametrize(("height", "width", "size"), [(14, 14, 50), (7, 9, 20), (1, 1, 4), (12, 5, 6)])
def test_upsampling_equals_torch(kind: heatmaps.Upsampling, height: int, width: int, size: int) -> None:
    maps = np.random.default_rng(0).normal(size=(3, height, width)).astype(np.float32)
    expected = F.interpolate(torch.tensor(maps)[:, None], size=(size, size), **TORCH[kind])[:, 0].numpy()
    assert heatmaps.upsample(maps, size, kind) == pytest.approx(expected, abs=1e-5)
    assert np.ptp(heatmaps.upsample(np.full((1, height, width), 0.3, np.float32), size, "bilinear")) == 0


@pytest.mark.parametrize("kind", ["cosine", "dot"])
def test_similarity_equals_brute_force(kind: heatmaps.Similarity) -> None:
    rng = np.random.default_rng(0)
    visual, sound = rng.normal(size=(2, 5, 4)), rng.normal(size=(2, 4))
    visual[0, 0] = 0
    found = heatmaps.similarity_map(visual, sound, kind)
    for b in range(2):
        for p in range(5):
            value = sum(visual[b, p, d] * sound[b, d] for d in range(4))
            lengths = np.linalg.norm(visual[b, p]) * np.linalg.norm(sound[b])
            expected = value if kind == "dot" else (value / lengths if lengths else 0)
            assert found[b, p] == pytest.approx(expected, abs=1e-6)


def test_map_maker_pairs_any_picture_with_any_sound() -> None:
    rng = np.random.default_rng(0)
    visual, sound = rng.normal(size=(100, 6, 4)), rng.normal(size=(100, 4))
    maker = heatmaps.MapMaker(visual, sound, (2, 3), "dot")
    pictures, sounds = rng.integers(0, 100, 80), rng.integers(0, 100, 80)
    found = maker.maps(pictures, sounds)
    assert found.shape == (80, 2, 3)
    assert found[70].ravel() == pytest.approx(visual[pictures[70]] @ sound[sounds[70]], abs=1e-5)
    typical = (sound / np.linalg.norm(sound, axis=1, keepdims=True)).mean(axis=0)
    assert maker.maps(pictures, None)[3].ravel() == pytest.approx(visual[pictures[3]] @ typical, abs=1e-5)
    centred = heatmaps.MapMaker(
        visual, sound, (2, 3), "dot", True, heatmaps.token_mean(visual), heatmaps.token_mean(sound)
    )
    expected = -(visual[0] - visual.mean(axis=(0, 1))) @ (sound[1] - sound.mean(axis=0))
    assert centred.maps(np.array([0]), np.array([1]))[0].ravel() == pytest.approx(expected, abs=1e-5)


def test_tokens_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="tokens: found shapes"):
        heatmaps.MapMaker(np.zeros((2, 5, 4)), np.zeros((2, 4)), (2, 3))
    with pytest.raises(InputError, match="tokens: found widths 4 and 3"):
        heatmaps.MapMaker(np.zeros((2, 6, 4)), np.zeros((2, 3)), (2, 3))


def test_overlays_show_map_and_outline(tmp_path: Path) -> None:
    frame = np.full((16, 16, 3), 128, np.uint8)
    values = np.zeros((16, 16))
    values[4, 4] = 1
    over = blended(frame, values).astype(int)
    assert over[4, 4].sum() > over[0, 0].sum() + 200
    assert blended(frame, np.ones((16, 16))).shape == (16, 16, 3)
    mask = np.zeros((16, 16), bool)
    mask[4:12, 4:12] = True
    assert outline(mask).sum() == 64 - 16
    tiles = [Tile(frame, mask, [("own", values)], "a very long class name " * 9, "note")] * 3
    write_sheet(tmp_path / "sheet.png", tiles, "heading, $x$", "legend")
    with Image.open(tmp_path / "sheet.png") as sheet:
        pixels = np.asarray(sheet.convert("RGB")).astype(int)
    assert pixels.shape[1] > pixels.shape[0] / 2
    outlined = (np.abs(pixels - (64, 255, 96)).sum(axis=-1) == 0).sum()
    assert outlined == 6 * outline(np.kron(mask, np.ones((13, 13))) > 0).sum()  # three samples of frame and map
