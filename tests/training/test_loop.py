"""The training loop: what it computes, and what it leaves."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny_method as tiny
import torch
from safetensors.torch import load_file

from avbench.errors import InputError, RunError


def test_equals_steps_written_out_by_hand(tmp_path: Path) -> None:
    settings = tiny.config(steps=12, lr=0.01, betas=(0.9, 0.99), weight_decay=0.1, clip_norm=0.5)
    result = tiny.train(tmp_path, settings)
    method = tiny.TinyMethod()
    trained = [p for p in method.parameters() if p.requires_grad]
    adam = torch.optim.Adam(trained, lr=0.01, betas=(0.9, 0.99), weight_decay=0.1, foreach=False)
    step = 0
    for epoch in range(3):
        adam.param_groups[0]["lr"] = 0.01 if epoch < 2 else 0.005
        for batch in tiny.batches(epoch, 0):
            if step < 12:
                noise = method.draw_noise(tiny.BATCH, tiny.torch_stream(5, "mask", step))
                adam.zero_grad()
                method(batch.audio, batch.visual, noise).loss.backward()
                torch.nn.utils.clip_grad_norm_(trained, 0.5)
                adam.step()
                step += 1
    for name, value in load_file(result.weights).items():
        torch.testing.assert_close(value, method.state_dict()[name], rtol=1e-5, atol=1e-6)
    assert torch.equal(load_file(result.weights)["fixed"], torch.ones(6))


def test_adamw_decays_apart_from_the_gradient(tmp_path: Path) -> None:
    both = [
        load_file(tiny.train(tmp_path / name, tiny.config(optimizer=name, weight_decay=0.1)).weights)
        for name in ("adam", "adamw")
    ]
    assert not torch.allclose(both[0]["audio.weight"], both[1]["audio.weight"], atol=1e-3)


def test_accumulation_equals_one_batch_where_clips_are_independent(tmp_path: Path) -> None:
    whole = load_file(tiny.train(tmp_path / "1", tiny.config(accumulate=1)).weights)
    parts = load_file(tiny.train(tmp_path / "4", tiny.config(accumulate=4)).weights)
    for name in whole:
        torch.testing.assert_close(whole[name], parts[name], rtol=1e-4, atol=1e-5)
    row = [(tmp_path / n / "metrics.csv").read_text().splitlines()[1].split(",")[3] for n in ("1", "4")]
    assert float(row[0]) == pytest.approx(float(row[1]), rel=1e-4)


def test_accumulation_keeps_clips_of_different_parts_apart(tmp_path: Path) -> None:
    results = [
        load_file(
            tiny.train(tmp_path / str(n), tiny.config(accumulate=n), method=tiny.TinyMethod(separable=False)).weights
        )
        for n in (1, 4)
    ]
    assert not torch.allclose(results[0]["audio.weight"], results[1]["audio.weight"], atol=1e-4)


def test_loss_falls_and_bf16_follows_fp32(tmp_path: Path) -> None:
    first = tiny.train(tmp_path / "a", tiny.config(steps=4))
    long = tiny.train(tmp_path / "b", tiny.config(steps=150))
    short = tiny.train(tmp_path / "c", tiny.config(steps=150), precision="bf16")
    assert long.row["loss"] < 0.7 * first.row["loss"]
    assert short.row["loss"] == pytest.approx(long.row["loss"], rel=0.1)
    assert load_file(short.weights)["audio.weight"].dtype == torch.float32


def test_no_steps_hand_over_the_first_weights(tmp_path: Path) -> None:
    result = tiny.train(tmp_path, tiny.config(steps=0, epochs=0))
    assert torch.equal(load_file(result.weights)["audio.weight"], tiny.TinyMethod().audio.weight)
    assert result.row == {}


def test_best_weights_are_those_of_the_lowest_tuning_loss(tmp_path: Path) -> None:
    # The rate is far too high at first, so that the loss does not just fall.
    settings = tiny.config(steps=60, lr=0.5, select="best", keep_checkpoints=100, checkpoint_seconds=1e-6)
    result = tiny.train(tmp_path, settings, validate=tiny.tuning)
    rows = (tmp_path / "metrics.csv").read_text().splitlines()
    column = rows[0].split(",").index("tuning_loss")
    losses = {int(row.split(",")[0]): float(row.split(",")[column]) for row in rows[1:] if row.split(",")[column]}
    assert list(losses) == list(range(5, 61, 5))
    assert result.best_step == min(losses, key=lambda step: losses[step])
    assert result.tuning_loss == pytest.approx(min(losses.values()), rel=1e-5)
    at_best = load_file(tmp_path / f"checkpoints/step-{result.best_step:08d}/model.safetensors")
    assert torch.equal(load_file(result.weights)["audio.weight"], at_best["audio.weight"])
    again = tiny.train(tmp_path, settings, validate=tiny.tuning)
    assert again.best_step == result.best_step
    assert again.resumed_from == 60


def test_result_reports_time_waiting_for_data(tmp_path: Path) -> None:
    result = tiny.train(tmp_path, feed=tiny.slow)
    assert 0.3 < result.data_wait_share < 1
    assert result.row["clips_per_s"] > 0
    assert result.wall_s > 23 * 0.004


def poisoned(epoch: int, skip: int) -> Iterator[tiny.TinyBatch]:
    for number, batch in enumerate(tiny.batches(epoch, skip), start=skip):
        if (epoch, number) == (2, 3):
            batch.audio[1] = float("nan")
        yield batch


def test_nan_names_step_clips_and_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(tiny.Stopped):
        tiny.train(tmp_path, stop=tiny.Stop(20))
    with pytest.raises(RunError, match=r"step 14 of 23.*clip\d+, clip\d+, clip\d+ \.\.\..*step-000000\d\d") as caught:
        tiny.train(tmp_path, feed=poisoned)
    assert "\n" not in str(caught.value)
    report = json.loads((tmp_path / "nan_batch.json").read_text())
    wanted = next(iter(tiny.batches(2, 3))).index
    assert report["step"] == 14
    assert report["clips"] == [f"clip{int(i):03d}" for i in wanted]
    assert not (tmp_path / "weights.safetensors").exists()


def test_weights_that_overflowed_are_not_checkpointed(tmp_path: Path) -> None:
    class Overflowing(tiny.TinyMethod):
        def forward(self, *inputs: object) -> object:  # type: ignore[override]
            output = super().forward(*inputs)  # type: ignore[arg-type]
            self.audio.bias.register_hook(lambda gradient: gradient * float("inf"))
            return output

    with pytest.raises(RunError, match=r"weight audio\.bias is not finite after step 1 "):
        tiny.train(tmp_path, tiny.config(checkpoint_seconds=1e-6), method=Overflowing())
    assert not list((tmp_path / "checkpoints").glob("step-*")) if (tmp_path / "checkpoints").exists() else True


def test_wrong_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"train\.accumulate: found 3, valid: a divisor of train\.batch_size=8"):
        tiny.train(tmp_path, tiny.config(accumulate=3))
    with pytest.raises(InputError, match=r"train\.select: found best"):
        tiny.train(tmp_path, tiny.config(select="best"))
    assert not list(tmp_path.iterdir())


def test_data_that_end_early_are_an_error(tmp_path: Path) -> None:
    def short(epoch: int, skip: int) -> Iterator[tiny.TinyBatch]:
        yield next(tiny.batches(epoch, skip))

    with pytest.raises(RunError, match="epoch 1 gave 1 batches instead of 5"):
        tiny.train(tmp_path, feed=short)


def test_a_log_gets_lines_of_progress(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("avbench.data.progress._EVERY_S", 0.02)
    from avbench.training.loop import pretrain

    pretrain(
        tiny.TinyMethod(),
        tiny.slow,
        tiny.config(),
        steps_per_epoch=tiny.PER_EPOCH,
        stage=tiny.STAGE,
        seed=5,
        precision="fp32",
        device="cpu",
        directory=tmp_path,
        clip_id=str,
    )
    logging.shutdown()
    error = capsys.readouterr().err
    assert "pretrain: " in error
    assert "loss " in error
    assert "clips/s" in error
    assert " left" in error
