"""Learning rates by step."""

from __future__ import annotations

import pytest
import torch

from avbench.config import TrainConfig
from avbench.training.schedule import learning_rate


@pytest.mark.parametrize(("start", "every", "rate"), [(10, 5, 0.5), (1, 1, 0.1), (2, 3, 0.75)])
def test_step_schedule_is_the_authors_multisteplr(start: int, every: int, rate: float) -> None:
    epochs, per_epoch = 25, 3
    config = TrainConfig(lr=5e-5, decay_start=start, decay_every=every, decay_rate=rate)
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=5e-5)
    reference = torch.optim.lr_scheduler.MultiStepLR(optimizer, list(range(start, 1000, every)), gamma=rate)
    for epoch in range(epochs):
        for step in range(per_epoch):
            ours = learning_rate(config, epoch * per_epoch + step, steps=epochs * per_epoch, steps_per_epoch=per_epoch)
            assert ours == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12)
        optimizer.step()
        reference.step()


def test_cosine_rises_then_falls_to_its_floor() -> None:
    config = TrainConfig(lr=1.0, schedule="cosine", warmup=0.1, final_lr=0.2)
    rates = [learning_rate(config, step, steps=100, steps_per_epoch=7) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * n for n in range(1, 11)])
    assert rates[10] == pytest.approx(1.0)
    assert rates[55] == pytest.approx(0.6)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0.2 <= rates[99] < 0.201


def test_constant_has_a_warm_up_too() -> None:
    config = TrainConfig(lr=0.3, schedule="constant", warmup=0.5)
    rates = [learning_rate(config, step, steps=4, steps_per_epoch=1) for step in range(4)]
    assert rates == pytest.approx([0.15, 0.3, 0.3, 0.3])
