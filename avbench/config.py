"""A run's configuration: the sections data, input, model and train, and those that methods and tasks add.

Defaults are the paper's (CAV-MAE, ICLR 2023; sections 2-3 and Table 4). Presets, a YAML file and ``--set`` change
them; see :mod:`avbench.running.request`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

from avbench.errors import InputError
from avbench.settings import Settings, setting, to_dict

Precision = Literal["fp32", "tf32", "bf16", "fp16"]
Sampling = Literal["even", "centre", "ends"]
MODALITIES = ("audio", "visual")
HAS = {("audio",): "sound alone", ("visual",): "pictures alone", MODALITIES: "sound and pictures"}  # in messages
Modality = Literal["auto", "both", "audio", "visual"]
Weights = Literal["pretrained", "untrained", "checkpoint", "given"]
ONE_OR_IDLE = -1  # of train.threads
_WIDEST, _DEEPEST = 65_536, 1000  # beyond all use, and still built on the meta device within seconds


@dataclass(frozen=True, kw_only=True)
class DataConfig(Settings):
    """Which clips, and which of them train and test."""

    source: str = setting("soundshapes", "embedded set, folder of videos, prepared folder or manifest", identity=False)
    labels: str = setting("", "label CSV (index,mid,display_name); empty: look next to the manifest", identity=False)
    test_fraction: float = setting(0.2, "share held out, by hash of the id, where data names no split", gt=0, lt=1)
    eval_source: str = setting(
        "",
        "second source to evaluate on: its split test or, without splits, all of it; empty: the training source",
        identity=False,
    )
    split: Literal["auto", "all", "train", "tune", "test"] = setting(
        "auto", "clips to evaluate; auto: those held out, or all if the data has no splits and nothing trains on it"
    )
    subset: str = setting(
        "",
        "evaluate only on listed clips: a file of ids, or a subset from the catalogue such as retrieval",
        identity=False,
    )
    labelled: float = setting(
        1.0, "share of the training clips, class by class, that tasks may train on; pretraining has all", gt=0, le=1
    )
    corruption: str = setting(
        "", "damage of the judged clips at test time, as sound_noise@3 or no_sound (docs/tasks.md); empty: none"
    )
    train_clips: int = setting(2000, "clips generated for training (embedded set)", ge=8)
    test_clips: int = setting(1000, "clips generated for testing (embedded set)", ge=8)
    clips_seed: int = setting(0, "seed of the generated clips (embedded set)", ge=0, identity=False)
    n_frames: int = setting(10, "frames of a clip that are used; videos get as many (paper 10, Sync 16)", ge=1, le=512)
    sampling: Sampling = setting(
        "even", "their times over D seconds: even i*D/n (paper), centre (i+.5)*D/n, ends i*D/(n-1) (Sync)"
    )
    like: Literal["", "cavmae", "sync"] = setting(
        "", "prepare videos as these authors did (docs/data.md); empty: as avbench does"
    )
    fold: int = setting(1, "which of a set's published folds is judged, where it has some (esc50, ucf101)", ge=0)
    modality: Modality = setting("auto", "use sound (audio) or pictures (visual) alone; auto: what all clips have")

    @property
    def judged(self) -> DataConfig:
        """The same for the source whose clips are judged."""
        return replace(self, source=self.eval_source, eval_source="") if self.eval_source else self


@dataclass(frozen=True, kw_only=True)
class InputConfig(Settings):
    """How a clip becomes tensors (paper 2.1.1)."""

    sample_rate: int = setting(16000, "waveform samples per second", ge=1000)
    n_mels: int = setting(128, "mel bins", ge=8)
    frame_length_ms: float = setting(25.0, "spectrogram window, ms", gt=0)
    frame_shift_ms: float = setting(10.0, "spectrogram hop, ms", gt=0)
    target_length: int = setting(1024, "spectrogram rows after padding or cutting", ge=16)
    audio_mean: float = setting(-5.081, "mean of the log-mel spectrogram over the training set")
    audio_std: float = setting(4.4849, "standard deviation of the same", gt=0)
    image_size: int = setting(224, "height and width of a frame, pixels", ge=16)
    image_mean: tuple[float, float, float] = setting((0.485, 0.456, 0.406), "RGB means (ImageNet)")
    image_std: tuple[float, float, float] = setting((0.229, 0.224, 0.225), "RGB standard deviations", gt=0)
    eval_frame: int = setting(
        -1, "frame of data.n_frames used where evaluation takes one; -1: the clip's middle (paper: 5 of 10)", ge=-1
    )
    segment_length: int = setting(
        0, "rows of the audio window around each frame (Sync: 416); 0: the whole spectrogram", ge=0
    )


@dataclass(frozen=True, kw_only=True)
class ModelConfig(Settings):
    """Sizes of the transformer (paper 2.3). Defaults are ViT-Base."""

    embed_dim: int = setting(768, "width of the encoder", ge=8, le=_WIDEST)
    num_heads: int = setting(12, "attention heads of the encoder", ge=1)
    modality_depth: int = setting(11, "blocks in each modality's own encoder", ge=0, le=_DEEPEST)
    joint_depth: int = setting(1, "blocks of the joint encoder", ge=1, le=_DEEPEST)
    mlp_ratio: float = setting(4.0, "hidden width of the MLP over the width", gt=0)
    patch_size: int = setting(16, "side of a patch, in pixels, mel bins and spectrogram rows", ge=1)
    decoder_embed_dim: int = setting(512, "width of the decoder", ge=8, le=_WIDEST)
    decoder_depth: int = setting(8, "blocks of the decoder", ge=1, le=_DEEPEST)
    decoder_num_heads: int = setting(16, "attention heads of the decoder", ge=1)


_PROJECT = re.compile(r"([^/\\#?%:]+/)?[^/\\#?%:]{1,128}")  # as Weights & Biases takes it


@dataclass(frozen=True, kw_only=True)
class TrainConfig(Settings):
    """Pretraining (paper Table 4)."""

    init: str = setting(
        "", "weights to start from: a file, a name such as imagenet-mae, timm:NAME; empty: random", identity=False
    )
    init_resize: bool = setting(False, "fit position tables of another length to this input")
    init_missing: tuple[str, ...] = setting((), "keys, or patterns such as decoder_*, that may keep their first values")
    init_unexpected: tuple[str, ...] = setting((), "keys, or patterns, of the file that may be left out")
    pairing: Literal["true", "shuffled"] = setting(
        "true", "true: a clip's own frame; shuffled: another clip's, always the same one (paper Table 16)"
    )
    epochs: int = setting(25, "passes over the training clips; unused where steps is set", ge=0)
    steps: int = setting(0, "optimiser steps in all; 0: by epochs", ge=0)
    batch_size: int = setting(48, "clips per optimiser step, accumulation included", ge=2)
    accumulate: int = setting(1, "forward passes per optimiser step; negatives stay within one", ge=1)
    optimizer: Literal["adam", "adamw"] = setting("adam", "adam: decay as L2 in the gradient (paper); adamw: decoupled")
    lr: float = setting(5e-5, "base learning rate", gt=0)
    betas: tuple[float, float] = setting((0.95, 0.999), "Adam's averaging constants", ge=0, lt=1)
    weight_decay: float = setting(5e-7, "weight decay", ge=0)
    clip_norm: float = setting(0.0, "largest gradient norm; 0: no clipping (paper)", ge=0)
    schedule: Literal["step", "cosine", "constant"] = setting("step", "step (paper), or cosine after the warm-up")
    decay_start: int = setting(10, "step schedule: epochs at the base rate", ge=1)
    decay_every: int = setting(5, "step schedule: epochs between later decays", ge=1)
    decay_rate: float = setting(0.5, "step schedule: factor of each decay", gt=0, le=1)
    warmup: float = setting(0.0, "share of all steps with a linearly rising rate", ge=0, lt=1)
    final_lr: float = setting(0.0, "cosine schedule: last rate over the base rate", ge=0, le=1)
    noise: bool = setting(True, "additive noise and circular time roll of the spectrogram (paper Table 4)")
    select: Literal["last", "best"] = setting("last", "weights handed on; best: lowest loss on the tuning split")
    workers: int = setting(-1, "processes that read clips; -1: one per spare core", ge=-1, identity=False)
    threads: int = setting(
        0,
        "on a CPU; 0: all cores, bits depend on how many; -1: one, and idle cores in training where bits are the same",
        ge=ONE_OR_IDLE,
        identity=False,
    )
    deterministic: bool = setting(
        True, "on a GPU: kernels that give the same bits again; false may be faster", identity=False
    )
    compiled: bool = setting(False, "compile blocks, in long extractions, too; other last bits", identity=False)
    checkpoint_seconds: float = setting(30.0, "time between checkpoints", gt=0, identity=False)
    keep_checkpoints: int = setting(2, "checkpoints kept, newest first", ge=1, identity=False)
    log_every: int = setting(20, "steps between rows of metrics.csv", ge=1, identity=False)
    tensorboard: bool = setting(True, "write TensorBoard events where tensorboard is installed", identity=False)
    wandb: str = setting(
        "", "project of Weights & Biases, [ENTITY/]PROJECT, that shows trainings too; empty: none", identity=False
    )

    def __post_init__(self) -> None:
        """Checks the fields, and that they fit each other.

        Raises:
            InputError: They do not.
        """
        super().__post_init__()
        if self.batch_size % self.accumulate:
            raise InputError(
                f"train.accumulate: found {self.accumulate}, valid: a divisor of train.batch_size={self.batch_size}."
            )
        if self.wandb and not _PROJECT.fullmatch(self.wandb):
            raise InputError(f"train.wandb: found '{self.wandb}', valid: PROJECT or ENTITY/PROJECT, without #?%:\\.")


#: Settings of how a training is worked at and followed, which fine-tuning shares.
HOW = tuple(field.name for field in fields(TrainConfig) if not field.metadata["identity"] and field.name != "init")

FinetuneMode = Literal["all", "multimodal", "audioonly", "videoonly"]
_MODALITIES = {"multimodal": ("audio", "visual"), "audioonly": ("audio",), "videoonly": ("visual",)}


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(Settings):
    """End-to-end fine-tuning (paper Table 4); defaults are those for AudioSet-20K."""

    modes: tuple[FinetuneMode, ...] = setting(
        (), "models fine-tuned, one after the other; empty: multimodal, or the method's one modality; all: all it can"
    )
    streams: Literal["MM", "SM", "MM+SM"] = setting(
        "MM", "multimodal: what the head reads: the joint stream, the single ones end to end, or the sum (paper 2f)"
    )
    head: Literal["auto", "linear", "attention", "concat"] = setting(
        "auto", "linear on a frame; attention or MLP over all frames of a clip; auto: attention for Sync, else linear"
    )
    freeze: bool = setting(False, "train the head alone, on the encoder as it is: the papers' probes")
    weights: str = setting("", "file of fine-tuned weights to evaluate; nothing is trained", identity=False)
    epochs: int = setting(15, "passes over the training clips; unused where steps is set", ge=1)
    steps: int = setting(0, "optimiser steps in all; 0: by epochs", ge=0)
    batch_size: int = setting(36, "clips per optimiser step", ge=2)
    optimizer: Literal["adam", "adamw"] = setting("adam", "adam: decay as L2 in the gradient (paper); adamw: decoupled")
    lr: float = setting(5e-5, "learning rate of the encoder", gt=0)
    head_lr_ratio: float = setting(100.0, "learning rate of the head over that of the encoder", gt=0)
    betas: tuple[float, float] = setting((0.95, 0.999), "Adam's averaging constants", ge=0, lt=1)
    weight_decay: float = setting(5e-7, "weight decay", ge=0)
    clip_norm: float = setting(0.0, "largest gradient norm; 0: no clipping (paper)", ge=0)
    schedule: Literal["step", "cosine", "constant"] = setting("step", "step (paper), or cosine after the warm-up")
    decay_start: int = setting(5, "step schedule: epochs at the base rate", ge=1)
    decay_every: int = setting(1, "step schedule: epochs between later decays", ge=1)
    decay_rate: float = setting(0.5, "step schedule: factor of each decay", gt=0, le=1)
    warmup: float = setting(0.0, "share of all steps with a linearly rising rate", ge=0, lt=1)
    final_lr: float = setting(0.0, "cosine schedule: last rate over the base rate", ge=0, le=1)
    target: Literal["auto", "single", "multi"] = setting(
        "auto", "one label a clip, or any number; auto: one where every training clip has exactly one"
    )
    label: str = setting("", "parts of the class names that are the label, such as 1+2; empty: whole names")
    balanced: bool = setting(False, "class-balanced sampling")
    mixup: float = setting(0.5, "probability of mixing a clip with another", ge=0, le=1)
    freq_mask: int = setting(48, "largest SpecAugment mask, mel bins", ge=0)
    time_mask: int = setting(192, "largest SpecAugment mask, spectrogram rows", ge=0)
    noise: bool = setting(True, "additive noise and circular time roll; not applied to audio windows (Sync)")
    label_smoothing: float = setting(0.1, "label smoothing", ge=0, lt=1)
    loss: Literal["auto", "bce", "ce"] = setting("auto", "bce for several labels per clip, ce for one; auto: by target")
    average_from: int = setting(3, "first epoch of the weight average; 0: no average", ge=0)
    average_to: int = setting(15, "last epoch of the weight average, or the last there is", ge=0)
    frames: Literal["all", "middle"] = setting(
        "all", "frames whose probabilities are averaged in the test; middle: input.eval_frame alone"
    )
    absent: Literal["present", "reference"] = setting(
        "present", "classes no evaluated clip has: left out of mAP and mAUC, or AP 0 and AUC -1 (reference)"
    )
    missing: bool = setting(True, "multimodal: also test with one modality alone (paper 2g)")
    resamples: int = setting(1000, "bootstrap resamples for the 95 % intervals; 0: none", ge=0, le=100_000)
    bootstrap_seed: int = setting(0, "seed of the resamples", ge=0)

    def modes_for(self, modalities: tuple[str, ...], method: str) -> tuple[str, ...]:
        """Returns the modes to fine-tune, each once.

        Args:
            modalities: Those the method takes.
            method: For the error.

        Raises:
            InputError: A mode that needs a modality which the method does not take.
        """
        possible = tuple(mode for mode, needed in _MODALITIES.items() if set(needed) <= set(modalities))
        for mode in self.modes:
            if mode not in (*possible, "all"):
                raise InputError(f"task.modes: found {mode}, valid: {', '.join(possible)}, all, for method '{method}'.")
        if "all" in self.modes:
            return possible
        return tuple(dict.fromkeys(self.modes)) or possible[:1]

    def loss_for(self, *, single: bool) -> Literal["bce", "ce"]:
        """Returns the loss for one label a clip, or for any number."""
        if self.loss == "auto":
            return "ce" if single else "bce"
        return self.loss


SECTIONS: dict[str, type[Settings]] = {
    "data": DataConfig,
    "input": InputConfig,
    "model": ModelConfig,
    "train": TrainConfig,
}  # those that every method has


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Everything one run needs, defaults included. ``method`` and ``task`` hold the options of those named."""

    method_name: str
    task_name: str
    data: DataConfig
    input: InputConfig
    model: ModelConfig
    method: Settings
    train: TrainConfig
    task: Settings
    seed: int
    precision: Precision
    weights: Weights
    checkpoint: Path | None = None
    presets: tuple[str, ...] = ()
    fits_batch: bool = False  # the batch size is a default of ours: fewer clips make a smaller one

    def to_dict(self) -> dict[str, Any]:
        """Returns the configuration as JSON values, for records and ``--dry-run``."""
        sections = {name: to_dict(getattr(self, name)) for name in ("data", "input", "model", "train")}
        return {
            "method": {"name": self.method_name, **to_dict(self.method)},
            "task": {"name": self.task_name, **to_dict(self.task)},
            **sections,
            "seed": self.seed,
            "precision": self.precision,
            "weights": self.weights,
            "checkpoint": str(self.checkpoint) if self.checkpoint else None,
            "presets": list(self.presets),
        }
