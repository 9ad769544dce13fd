from __future__ import annotations

import csv
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from labelled_clips import CLASSES, INPUT, MODEL, LabelledClips
from safetensors.torch import load_file
from torch import nn

from avbench import registry
from avbench.config import FinetuneConfig, TrainConfig
from avbench.data.feed.dataset import AudioVisualDataset
from avbench.errors import InputError, Stopped
from avbench.methods.classifier import Classifier, build_classifier
from avbench.methods.heads import KEYS
from avbench.settings import change
from avbench.tasks.labels import Labels, read_labels
from avbench.training import finetune as module
from avbench.training.averaging import WeightAverage
from avbench.training.checkpoints import read_checkpoint
from avbench.training.finetune import Work, epoch_order, finetune, train_settings
from avbench.training.loop import train
from avbench.training.objective import classification_loss
from avbench.training.optimizer import RATIO, build_optimizer, optimizer_tensors, restore_optimizer
from avbench.training.probabilities import predict
from avbench.training.schedule import learning_rate

CLIPS = LabelledClips(20)
TRAIN = TrainConfig(workers=0, checkpoint_seconds=1e-6, log_every=1, tensorboard=False)


def labels(clips: LabelledClips = CLIPS) -> Labels:
    return read_labels(clips, {name: name for name in CLASSES})


def model(name: str = "cavmae", mode: str = "multimodal", seed: int = 0, **options: Any) -> Classifier:
    found = registry.find("method", name).load()
    return build_classifier(found.METHOD(found.CONFIG(), MODEL, INPUT, seed=0), 3, mode=mode, seed=seed, **options)


def work(folder: Path, seed: int = 0) -> Work:
    return Work(folder=folder, stage="s", device="cpu", precision="fp32", seed=seed, train=TRAIN, progress=False)


def recipe(**changes: Any) -> FinetuneConfig:
    values = {"epochs": 3, "batch_size": 6, "lr": 1e-3, "head_lr_ratio": 10.0, "freq_mask": 4, "time_mask": 8}
    values |= {"decay_start": 2, "average_from": 2, **changes}
    return FinetuneConfig(**values)


def run(folder: Path, config: FinetuneConfig | None = None, *, tuned: Classifier | None = None, **options: Any):
    settings = {"mode": "multimodal", "loss": "bce", **options}
    tuned = tuned or model()
    finetune(tuned, CLIPS, labels(), INPUT, config or recipe(), work=work(folder), **settings)
    return tuned


def losses(folder: Path) -> list[str]:
    with (folder / "metrics.csv").open() as handle:
        return [row["loss"] for row in csv.DictReader(handle)]


def equal(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_five_steps_are_reproducible_from_the_seed(tmp_path: Path) -> None:
    config = recipe(steps=5, mixup=0.5)
    one, same = run(tmp_path / "a", config), run(tmp_path / "b", config)
    assert len(losses(tmp_path / "a")) == 5
    assert losses(tmp_path / "a") == losses(tmp_path / "b")
    assert equal(one, same)
    other = model()
    finetune(other, CLIPS, labels(), INPUT, config, mode="multimodal", loss="bce", work=work(tmp_path / "c", seed=1))
    assert losses(tmp_path / "a") != losses(tmp_path / "c")


@pytest.mark.parametrize("stop_after", [1, 3, 6, 8])
def test_stopped_anywhere_it_ends_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_after: int
) -> None:
    whole = run(tmp_path / "whole")
    asked = itertools.count(1)
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(module, "train", lambda *a, **k: train(*a, **k, stop=lambda: next(asked) > 2 * stop_after))
        run(tmp_path / "stopped")
    assert not (tmp_path / "stopped" / module.FINETUNED).exists()
    assert equal(whole, run(tmp_path / "stopped"))
    assert losses(tmp_path / "whole") == losses(tmp_path / "stopped")


def test_killed_between_average_and_checkpoint(tmp_path: Path) -> None:
    """The epoch is then reached again, and must not be counted twice."""
    tuned, average = model(), WeightAverage(tmp_path, "s", 1, 3)
    average.add(1, tuned)
    average.add(1, tuned)
    average.add(4, tuned)
    assert average.epochs == (1,)
    assert WeightAverage(tmp_path, "other", 1, 3).epochs == ()


@pytest.mark.parametrize("cut", [False, True])
def test_a_sum_of_weights_that_was_changed_is_not_averaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut: bool
) -> None:
    whole = run(tmp_path / "whole")
    asked = itertools.count(1)
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(module, "train", lambda *a, **k: train(*a, **k, stop=lambda: next(asked) > 12))
        run(tmp_path / "stopped")
    path = tmp_path / "stopped" / "average.safetensors"
    data = bytearray(path.read_bytes())
    data[-2] ^= 64
    path.write_bytes(data[:-9] if cut else data)
    assert equal(whole, run(tmp_path / "stopped"))
    assert {each.name for each in (tmp_path / "stopped").glob("*.damaged")} == {
        "average.safetensors.damaged",
        "checkpoints.damaged",
    }


def test_average_is_the_plain_mean_of_every_tensor(tmp_path: Path) -> None:
    average, states = WeightAverage(tmp_path, "s", 2, 4), []
    for epoch in range(1, 6):
        tuned = model(seed=epoch)
        with torch.no_grad():
            for parameter in tuned.parameters():
                parameter.add_(float(epoch))
        states.append({key: value.clone() for key, value in tuned.state_dict().items()})
        average.add(epoch, tuned)
    assert average.apply(tuned) == (2, 3, 4)
    for key, value in tuned.state_dict().items():
        torch.testing.assert_close(value, torch.stack([state[key] for state in states[1:4]]).mean(dim=0))


def test_finished_run_leaves_averaged_weights_alone(tmp_path: Path) -> None:
    tuned = run(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {module.FINETUNED, "metrics.csv", "lock"}
    metadata = read_checkpoint(tmp_path / module.FINETUNED).metadata
    assert metadata["averaged_epochs"] == [2, 3]
    assert equal(tuned, run(tmp_path, tuned=model(seed=5)))  # read, not trained again
    saved = load_file(tmp_path / module.FINETUNED)
    assert all(torch.equal(saved[key], value) for key, value in tuned.state_dict().items())


@pytest.mark.parametrize("damage", ["bit", "cut", "empty"])
def test_finished_weights_that_were_changed_are_trained_again(tmp_path: Path, damage: str) -> None:
    tuned = run(tmp_path)
    path = tmp_path / module.FINETUNED
    data = bytearray(path.read_bytes())
    data[-2] ^= 64
    path.write_bytes({"bit": data, "cut": data[:-9], "empty": b""}[damage])
    assert equal(tuned, run(tmp_path))
    assert (tmp_path / f"{module.FINETUNED}.damaged").is_file()


def test_without_an_average_the_last_weights_stay(tmp_path: Path) -> None:
    run(tmp_path, recipe(average_from=0))
    assert read_checkpoint(tmp_path / module.FINETUNED).metadata["averaged_epochs"] == []


def test_head_with_its_layer_norm_has_its_own_rate() -> None:
    tuned = model()
    optimizer = build_optimizer(tuned, TRAIN, "cpu", ratios={KEYS: 100.0})
    base, head = optimizer.param_groups
    names = {id(p): name for name, p in tuned.named_parameters()}
    assert (base[RATIO], head[RATIO]) == (1.0, 100.0)
    assert {names[id(p)] for p in head["params"]} == {name for name in names.values() if name.startswith("mlp_head.")}
    assert len(base["params"]) + len(head["params"]) == len(names)
    for parameter in tuned.parameters():
        parameter.grad = torch.ones_like(parameter)
    before = {name: p.detach().clone() for name, p in tuned.named_parameters()}
    for group in optimizer.param_groups:
        group["lr"] = 1e-4 * group[RATIO]
    optimizer.step()
    moved = {name: (before[name] - p).abs().mean().item() for name, p in tuned.named_parameters()}
    assert moved["mlp_head.0.weight"] == pytest.approx(1e-2, rel=1e-3)
    assert moved["blocks_a.0.norm1.weight"] == pytest.approx(1e-4, rel=1e-2)
    tensors = optimizer_tensors(tuned, optimizer)
    again = build_optimizer(tuned, TRAIN, "cpu", ratios={KEYS: 100.0})
    restore_optimizer(tuned, again, tensors)
    restored = optimizer_tensors(tuned, again)
    assert all(torch.equal(restored[key], value) for key, value in tensors.items())
    assert tensors["mlp_head.1.weight/exp_avg"].mean().item() == pytest.approx(0.05)


def test_schedule_is_the_authors_table() -> None:
    settings = train_settings(FinetuneConfig(), TRAIN)  # AudioSet-20K: 5 epochs, then half each epoch
    rates = [learning_rate(settings, epoch * 519, steps=15 * 519, steps_per_epoch=519) for epoch in range(15)]
    assert rates[:5] == [5e-5] * 5
    np.testing.assert_allclose(rates[5:], [5e-5 * 0.5 ** (k + 1) for k in range(10)])
    assert (settings.optimizer, settings.betas, settings.weight_decay) == ("adam", (0.95, 0.999), 5e-7)


@pytest.mark.parametrize("kind", ["bce", "ce"])
def test_losses(kind: Any) -> None:
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    target = torch.rand(4, 3, generator=torch.Generator().manual_seed(1))
    z, y = logits.double(), target.double()
    if kind == "bce":
        wanted = -(y * z.sigmoid().log() + (1 - y) * (1 - z.sigmoid()).log()).mean()
    else:
        wanted = -(y * z.log_softmax(dim=1)).sum(dim=1).mean()
    torch.testing.assert_close(classification_loss(logits, target, kind).double(), wanted, atol=1e-6, rtol=1e-6)
    several = classification_loss(torch.stack([logits, -logits], dim=1), target, kind)
    each = (classification_loss(logits, target, kind) + classification_loss(-logits, target, kind)) / 2
    torch.testing.assert_close(several, each)


@pytest.mark.parametrize(("name", "mode"), [("cavmae", "audioonly"), ("visualmae", "videoonly"), ("cav", "multimodal")])
def test_classes_are_learnt(tmp_path: Path, name: str, mode: str) -> None:
    config = recipe(steps=60, mixup=0.0, freq_mask=0, time_mask=0, noise=False, schedule="constant", average_from=0)
    tuned = run(tmp_path, change(config, {"lr": 3e-3}), tuned=model(name, mode), mode=mode, loss="ce")
    fresh = LabelledClips(30, first=100)
    scores = predict(tuned, fresh, INPUT, modes=(mode,), loss="ce", frames="all", work=work(tmp_path))[mode]
    right = scores.argmax(axis=1) == np.arange(100, 130) % 3
    assert right.mean() > 0.6
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("name", ["cavmae", "cavmae_sync"])
def test_frozen_fine_tuning_leaves_all_but_the_head_as_it_was(tmp_path: Path, name: str) -> None:
    """Bit for bit, LayerNorms and position tables too, after decay as L2 and an average over three epochs."""
    tuned = model(name)
    before = {key: value.clone() for key, value in tuned.state_dict().items()}
    assert any("pos_embed" in key for key in before)
    run(tmp_path, recipe(freeze=True, average_from=1, weight_decay=1e-2), tuned=tuned)
    changed = {key for key, value in tuned.state_dict().items() if not torch.equal(value, before[key])}
    assert changed
    assert all(key.startswith(KEYS) for key in changed)
    scores = predict(tuned, CLIPS, INPUT, modes=("multimodal",), loss="bce", frames="middle", work=work(tmp_path))
    assert scores["multimodal"].shape == (20, 3)


def test_every_clip_is_scored_by_all_its_frames(tmp_path: Path) -> None:
    tuned, clips = model().eval(), LabelledClips(23)
    every = predict(
        tuned, clips, INPUT, modes=("multimodal", "audioonly"), loss="bce", frames="all", work=work(tmp_path)
    )
    middle = predict(tuned, clips, INPUT, modes=("multimodal",), loss="bce", frames="middle", work=work(tmp_path))
    items = AudioVisualDataset(clips, INPUT, mode="all_frames")
    for i in (0, 1, 22):
        item = items[i]
        with torch.no_grad():
            each = [tuned(item.audio[None, k], item.visual[None, k]).sigmoid()[0] for k in range(3)]
        np.testing.assert_allclose(every["multimodal"][i], torch.stack(each).mean(dim=0), atol=1e-6)
        np.testing.assert_allclose(middle["multimodal"][i], each[INPUT.eval_frame], atol=1e-6)
    assert len(every["multimodal"]) == len(middle["multimodal"]) == 23
    alone = predict(tuned, clips, INPUT, modes=("audioonly",), loss="bce", frames="all", work=work(tmp_path))
    np.testing.assert_allclose(alone["audioonly"], every["audioonly"], atol=1e-6)


def test_more_clips_a_batch_than_there_are(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"task.batch_size: found 21, valid: at most"):
        run(tmp_path, recipe(batch_size=21))


def test_another_fine_tuning_in_the_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = itertools.count(1)
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(module, "train", lambda *a, **k: train(*a, **k, stop=lambda: next(asked) > 9))
        run(tmp_path)
    other = Work(**{**vars(work(tmp_path)), "stage": "t"})
    with pytest.raises(InputError, match="valid here: 't'"):
        finetune(model(), CLIPS, labels(), INPUT, recipe(), mode="multimodal", loss="bce", work=other)


def test_balanced_epochs_draw_rare_classes_as_often() -> None:
    clips = LabelledClips(0, indices=[*([0] * 40), *([1] * 8), *([2] * 2)])
    config = recipe(balanced=True)
    drawn = np.concatenate([epoch_order(labels(clips), 50, config, 0, epoch) for epoch in range(20)])
    shares = np.bincount(np.searchsorted([40, 48], drawn, side="right"), minlength=3) / len(drawn)
    np.testing.assert_allclose(shares, 1 / 3, atol=0.06)
    plain = epoch_order(labels(clips), 50, recipe(), 0, 3)
    assert sorted(plain) == list(range(50))
