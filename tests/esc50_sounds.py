"""A folder that looks like ESC-50, and an encoder that hears what is in it."""

from __future__ import annotations

from pathlib import Path

from video_files import tone, write_video

ENCODER = """
import avbench, torch

class Ear(avbench.Encoder):
    sample_rate, seconds = 16_000, 1.0

    def audio(self, waves, rate):
        return torch.stack([torch.stack([w.std(), w[1:].sub(w[:-1]).std()]) for w in waves])
"""


def esc50(root: Path) -> Path:
    """Writes ten sounds, two of each fold: a low one called dog, a high one called rain; one dog that is high."""
    rows = ["filename,fold,target,category,esc10,src_file,take"]
    for fold in range(1, 6):
        for target, category in ((0, "dog"), (10, "rain")):
            name = f"{fold}-10{fold}-A-{target}.wav"
            rows.append(f"{name},{fold},{target},{category},True,10{fold},A")
            hertz = 2000.0 + 40 * fold if category == "rain" else 200.0 + 10 * fold
            hertz = 3000.0 if (fold, category) == (3, "dog") else hertz
            write_video(root / "audio" / name, sound=tone(0.5, hertz), audio_codec="pcm_s16le")
    (root / "meta").mkdir()
    (root / "meta" / "esc50.csv").write_text("\n".join(rows) + "\n")
    return root
