"""Recordings of the reference implementations, and the formula for their weights and inputs."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from avbench.config import InputConfig, ModelConfig

TOLERANCE = 1e-5


@pytest.fixture(scope="session")
def parity_dir(request: pytest.FixtureRequest) -> Path:
    """The folder named with --parity-dir, or the shared one."""
    given = request.config.getoption("--parity-dir")
    folder = Path(given) if given else Path(request.getfixturevalue("shared")) / "parity"
    if not (folder / "meta.json").is_file():
        pytest.skip(f"no recordings in {folder}")
    return folder


@pytest.fixture(scope="session")
def meta(parity_dir: Path) -> dict[str, int]:
    content: dict[str, int] = json.loads((parity_dir / "meta.json").read_text())
    return content


@pytest.fixture(scope="session")
def cavmae(parity_dir: Path) -> Mapping[str, np.ndarray]:
    if not (parity_dir / "cavmae.npz").is_file():
        pytest.skip(f"no cavmae.npz in {parity_dir}")
    with np.load(parity_dir / "cavmae.npz") as file:
        return {key: file[key] for key in file.files}


@pytest.fixture(scope="session")
def model_config(meta: dict[str, int]) -> ModelConfig:
    return ModelConfig(**{key: meta[key] for key in meta if key in ModelConfig.__dataclass_fields__})


@pytest.fixture(scope="session")
def input_config() -> InputConfig:
    return InputConfig()


def _fill(model: nn.Module) -> None:
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            if "pos_embed" in key:
                continue
            z = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(tuple(tensor.shape)).astype(np.float32)
            if z.ndim >= 2:
                z = z * np.float32(np.prod(z.shape[1:]) ** -0.5)
            else:
                z = 1 + np.float32(0.1) * z if key.endswith(".weight") else np.float32(0.1) * z
            tensor.copy_(torch.from_numpy(np.asarray(z, dtype=np.float32)))


@pytest.fixture(scope="session")
def fill() -> Callable[[nn.Module], None]:
    """Sets a model's weights by the formula of the recordings' README."""
    return _fill


@pytest.fixture(scope="session")
def inputs() -> Callable[[int, int, int], tuple[Tensor, Tensor]]:
    """Returns, for seed, n and length, the recordings' spectrograms (n, length, 128) and frames (n, 3, 224, 224)."""

    def make(seed: int, n: int, length: int) -> tuple[Tensor, Tensor]:
        r = np.random.default_rng(seed)
        audio = r.standard_normal((n, length, 128)).astype(np.float32)
        return torch.from_numpy(audio), torch.from_numpy(r.standard_normal((n, 3, 224, 224)).astype(np.float32))

    return make


@pytest.fixture
def close(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Asserts that two arrays agree norm-wise; the errors go to the report (``pytest --junit-xml``)."""

    def check(found: Tensor | np.ndarray | float, wanted: np.ndarray, name: str = "error") -> None:
        x = np.asarray(found.detach() if isinstance(found, Tensor) else found, dtype=np.float64)
        y = np.asarray(wanted, dtype=np.float64)
        assert x.shape == y.shape, name
        error = np.linalg.norm(x - y) / (np.linalg.norm(y) or 1.0)
        record_property(name, f"{error:.1e}")
        assert error < TOLERANCE, f"{name}: relative error {error:.1e}"

    return check
