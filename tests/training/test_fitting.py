"""Where memory runs out, training says which pass there is memory for; and a step waits for no value of the device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tiny_method as tiny
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from avbench.bench.step import _batch, session_of
from avbench.config import InputConfig, ModelConfig, TrainConfig
from avbench.errors import RunError
from avbench.methods.cav import Cav
from avbench.methods.cavmae import CavMae
from avbench.methods.masking import MaskNoise
from avbench.methods.objectives import PretrainOutput
from avbench.methods.options import CavConfig, CavMaeConfig

MORE_THAN_ANY_MACHINE_HAS = 2**46  # float32 values


class Large(tiny.TinyMethod):
    """Needs more memory than there is for a pass of more clips than ``most``."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def forward(self, audio: Tensor, visual: Tensor, noise: MaskNoise) -> PretrainOutput:
        if len(audio) > self.most:
            torch.empty(MORE_THAN_ANY_MACHINE_HAS)
        return super().forward(audio, visual, noise)


@pytest.mark.parametrize(
    ("most", "accumulate", "said"),
    [
        (5, 1, "of 8 clips a pass .*4 fit: --set train.accumulate=2 keeps the batch"),
        (2, 2, "of 4 clips a pass .*2 fit: --set train.accumulate=4"),
        (1, 1, ".*nor is there room for two; a smaller model or --precision bf16"),
    ],
)
def test_the_pass_that_fits_is_named(tmp_path: Path, most: int, accumulate: int, said: str) -> None:
    with pytest.raises(RunError, match=f"^out of memory in step 1, {said}") as caught:
        tiny.train(tmp_path, tiny.config(accumulate=accumulate), method=Large(most))
    assert "\n" not in str(caught.value)
    if most > 1:  # and it does fit
        tiny.train(tmp_path, tiny.config(accumulate=8 // most if 8 % most == 0 else 2, steps=2), method=Large(most))


def test_of_fine_tuning_the_batch_that_fits_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"4 fit: --set task\.batch_size=4"):
        tiny.train(tmp_path, method=Large(5), section="task")


class _Reads(TorchDispatchMode):
    """Counts what on a GPU would wait for its results."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.name() in ("aten::_local_scalar_dense", "aten::nonzero", "aten::is_nonzero", "aten::equal"):
            self.found.append(func.name())
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("cls", [(CavMae, CavMaeConfig), (Cav, CavConfig)])
def test_a_step_reads_no_value_before_a_row_is_due(tmp_path: Path, cls: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"embed_dim": 16, "num_heads": 2, "modality_depth": 1}
    model = ModelConfig(**sizes, decoder_embed_dim=8, decoder_depth=1, decoder_num_heads=2)
    method = cls[0](cls[1](), model, InputConfig(n_mels=32, target_length=48, image_size=32))
    config = TrainConfig(batch_size=4, clip_norm=1.0, log_every=1000)
    session = session_of(method, config, "fp32", tmp_path)
    batch = _batch(method)
    # On a CPU each step's values are read, as that costs nothing.
    monkeypatch.setattr(session, "_collect", lambda: None)
    session.step(batch, 0.0)
    with _Reads() as reads:
        session.step(batch, 0.0)
    assert reads.found == []
