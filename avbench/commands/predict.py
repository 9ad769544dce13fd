"""``avbench predict``: the classes of videos by a fine-tuned model, with their probabilities."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from avbench.errors import InputError
from avbench.files.paths import check_is_file

if TYPE_CHECKING:
    from avbench.running.prediction import Prediction


@dataclass(frozen=True, kw_only=True)
class Command:
    """Prints the most probable classes of videos, window by window, by a model that was fine-tuned on labels."""

    videos: tyro.conf.Positional[tuple[str, ...]] = ()
    """One or more video files."""
    checkpoint: Path | None = None
    """The model: RESULTS/stages/finetune/ID/finetuned.safetensors of task classification, or the authors' .pth."""
    encoder: str = ""
    """Of a model that was fine-tuned of an encoder of yours: FILE.py:Class or PACKAGE.MODULE:Class, whose code runs."""
    top: int = 5
    """Classes shown for each window of 10 s (or as long as the model hears)."""
    labels: Path | None = None
    """Class names of the authors' file: a CSV (index,mid,display_name); unset: AudioSet's or VGGSound's by count."""
    mode: Literal["multimodal", "audioonly", "videoonly", "missingaudioonly", "missingvideoonly"] | None = None
    """What the model reads; unset: what it was fine-tuned on, or both. missingaudioonly: both, given sound alone."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto: the GPU if there is one."""
    precision: Literal["auto", "fp32", "tf32", "bf16", "fp16"] = "auto"
    """Arithmetic; auto: bf16 (or fp16) on a GPU, fp32 on a CPU."""
    format: Literal["text", "json"] = "text"
    """What goes to standard output; json: all probabilities."""

    def execute(self) -> int:
        """Predicts, file by file."""
        if not self.videos:
            raise InputError("predict: found no video, valid: one or more files.")
        if self.checkpoint is None:
            raise InputError("predict: found no --checkpoint, valid: --checkpoint FILE, a fine-tuned model.")
        if self.top < 1:
            raise InputError(f"--top: found {self.top}, valid: at least 1.")
        for video in self.videos:
            check_is_file(Path(video), valid="a video or a sound")
        from avbench.running.prediction import Predictor

        predictor = Predictor.load(
            self.checkpoint,
            encoder=self.encoder,
            labels=self.labels,
            mode=self.mode or "",
            device=self.device,
            precision=self.precision,
        )
        found = {video: predictor.predict(Path(video)) for video in self.videos}
        if self.format == "json":
            rows = [_row(video, each, predictor.classes) for video, parts in found.items() for each in parts]
            sys.stdout.write(json.dumps(rows, indent=2) + "\n")
            return 0
        for video, parts in found.items():
            for each in parts:
                sys.stdout.write(f"{video}  {each.start:.1f} to {each.end:.1f} s\n")
                best = (-each.probabilities).argsort(kind="stable")[: self.top]
                lines = (f"  {100 * each.probabilities[i]:5.1f} %  {predictor.classes[i]}\n" for i in best)
                sys.stdout.write("".join(lines))
        return 0


def _row(video: str, found: Prediction, classes: tuple[str, ...]) -> dict[str, Any]:
    probabilities = {name: round(float(value), 6) for name, value in zip(classes, found.probabilities, strict=True)}
    return {"video": video, "start": found.start, "end": found.end, "probabilities": probabilities}
