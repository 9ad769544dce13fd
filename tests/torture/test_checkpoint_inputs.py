"""Weights files that are malformed, or lie about themselves: refused in one line, and nothing of them is executed."""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from refusal import refuse
from safetensors.torch import save_file
from torch import Tensor

from avbench.config import InputConfig, ModelConfig
from avbench.methods import cavmae
from avbench.settings import change

TINY = {
    "embed_dim": 64,
    "num_heads": 1,
    "modality_depth": 1,
    "joint_depth": 1,
    "decoder_embed_dim": 32,
    "decoder_depth": 1,
    "decoder_num_heads": 1,
}
INPUT = {"target_length": 64, "image_size": 64}
PATCH = "patch_embed_a.proj.weight"
State = dict[str, Tensor]
Make = Callable[[Path, State], Any]


@pytest.fixture(scope="module")
def state() -> State:
    sizes = change(ModelConfig(), TINY, "model"), change(InputConfig(), INPUT, "input")
    return dict(cavmae.METHOD(cavmae.CONFIG(), *sizes, seed=0).state_dict())


def raw(content: bytes) -> Make:
    return lambda path, state: path.write_bytes(content)


def archive(rewrite: Callable[[str, bytes], bytes | None]) -> Make:
    """PyTorch's archive with its members rewritten; None leaves one out."""

    def make(path: Path, state: State) -> None:
        torch.save(state, path)
        with zipfile.ZipFile(path) as whole:
            members = {name: whole.read(name) for name in whole.namelist()}
        with zipfile.ZipFile(path, "w") as changed:
            for name, content in members.items():
                if (new := rewrite(name, content)) is not None:
                    changed.writestr(name, new)

    return make


def pickled(content: bytes) -> Make:
    return archive(lambda name, old: content if name.endswith("data.pkl") else old)


def saved(change: Callable[[State], Mapping[Any, Any]]) -> Make:
    return lambda path, state: torch.save(change(state), path)


def nested(state: State) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(400):
        found = {"model": found}
    return found


def own(metadata: Any) -> Make:
    """Weights of ours that say something of themselves."""
    text = metadata if isinstance(metadata, str) else json.dumps(metadata)
    return lambda path, state: save_file(state, path, metadata={"avbench": text})


def says(**changed: Any) -> Make:
    return own({"method": "cavmae", "config": {}, "model": TINY, "input": INPUT} | changed)


def tensors(header: Any, body: int = 0) -> Make:
    """A safetensors file of this header, and so many bytes that the disk does not store."""

    def make(path: Path, state: State) -> None:
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        with path.open("wb") as handle:
            handle.write(struct.pack("<Q", len(text)) + text)
            handle.truncate(handle.tell() + body)

    return make


_WIDE = {PATCH: {"dtype": "F32", "shape": [10**9, 1, 16, 16], "data_offsets": [0, 1024 * 10**9]}}
_DEEP = "[" * 100_000
ROWS: dict[str, tuple[Make, str]] = {
    "empty": (raw(b""), "found an empty file"),
    "text": (raw(b"hello"), "neither a PyTorch nor a safetensors file"),
    "pickle cut off": (raw(b"\x80\x02X\xff\xff\xff\xff"), "a damaged or truncated PyTorch file"),
    "pickle of half a number": (raw(b"\x80\x02M"), "a damaged or truncated PyTorch file"),
    "pickle with an empty stack": (raw(b"\x80\x02."), "a damaged or truncated PyTorch file"),
    "pickle that runs a program": (raw(b"\x80\x02cos\nsystem\nX\x05\x00\x00\x00touchq\x00\x85R."), "os.system"),
    "archive: no pickle": (pickled(b"text"), "a damaged or truncated PyTorch file"),
    "archive: empty pickle": (pickled(b""), "a damaged or truncated PyTorch file"),
    "archive: a list": (pickled(b"\x80\x02]q\x00."), "found a stored list"),
    "archive: a tensor of nothing": (
        pickled(b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(NK\x00K\x01K\x01\x89NtR."),
        "a damaged or truncated PyTorch file",
    ),
    "archive: a part missing": (
        archive(lambda name, old: None if name.endswith("/data/0") else old),
        "a damaged or truncated PyTorch file",
    ),
    "archive: a part cut off": (
        archive(lambda name, old: old[:10] if name.endswith("/data/0") else old),
        "whose parts are not of the size it says",
    ),
    "archive: elsewhere": (archive(lambda name, old: None), "a damaged or truncated PyTorch file"),
    "mappings 400 deep": (saved(nested), "found "),
    "no text for a key": (saved(lambda state: {1: torch.zeros(2)}), "entries that are no tensors"),
    "a key of 100,000 letters": (saved(lambda state: {"a" * 100_000: torch.zeros(2)}), "weights of no model known"),
    "control characters": (saved(lambda state: {"\x1b[2J": torch.zeros(2)}), r"keys begin with \x1b[2J"),
    "half under module.": (
        saved(
            lambda state: {("module." if i % 2 else "") + key: value for i, (key, value) in enumerate(state.items())}
        ),
        "of 107 keys under 'module.' and the others without it",
    ),
    "terabytes of one value": (
        saved(lambda state: state | {"pos_embed_a": torch.zeros(1).expand(1, 10**12, 64)}),
        "1 tensors of which less is stored than their shapes say: pos_embed_a",
    ),
    "a billion blocks": (
        saved(lambda state: state | {"blocks_a.999999999.attn.qkv.weight": torch.zeros(1)}),
        "model.modality_depth: found 1000000000, valid: at most 1000",
    ),
    "a block of 5,000 digits": (
        saved(lambda state: state | {f"blocks_a.{'9' * 5000}.attn.qkv.weight": torch.zeros(1)}),
        "weights of no model known",
    ),
    "no shape": (saved(lambda state: state | {PATCH: torch.zeros(())}), "weights of no model known"),
    "whole numbers": (saved(lambda state: {key: value.long() for key, value in state.items()}), "not floating point"),
    "NaN": (saved(lambda state: state | {PATCH: state[PATCH] * float("nan")}), "values that are not finite in 1"),
    "metadata nested": (own(_DEEP), "found JSON nested too deep"),
    "metadata of 5,000 digits": (own('{"x": ' + "9" * 5000 + "}"), "cannot be read as JSON"),
    "metadata a list": (own([]), "found JSON of type list"),
    "metadata of NaN": (own('{"method": NaN}'), "found NaN"),
    "metadata of another type": (says(model={"embed_dim": "x"}), "model.embed_dim: found 'x'"),
    "metadata of an unknown key": (says(model={"zzz": 1}), "unknown key 'model.zzz'"),
    "metadata of a trillion": (says(model=TINY | {"embed_dim": 10**12}), "valid: at most 65536"),
    "metadata of other sizes": (says(model=TINY | {"embed_dim": 128}), "of another shape"),
    "metadata of ten million blocks": (says(model=TINY | {"modality_depth": 10**7}), "valid: at most 1000"),
    "metadata that names code": (says(method="os:system"), "unknown method 'os:system'"),
    "metadata that names a path": (says(method="../../x"), "unknown method '../../x'"),
    "header nested": (tensors(b'{"a":' + b"[" * 50_000), "a damaged or truncated safetensors file"),
    "header without tensors": (tensors({}), "found no tensors"),
    "header of more than there is": (
        tensors({"a": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}}),
        "a damaged or truncated safetensors file",
    ),
    "sparse terabytes": (tensors(_WIDE, 1024 * 10**9), " GiB of weights, more than the "),
}


@pytest.mark.parametrize("row", ROWS)
def test_a_malformed_checkpoint_is_refused(
    row: str, state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make, expected = ROWS[row]
    make(Path("w.pth"), state)

    refuse(["checkpoint", "import", "w.pth", "--out", "o.safetensors"], expected, capsys, tmp_path)


def test_fine_tuned_weights_are_read_before_anything_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AVBENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "w.pth").write_bytes(b"hello")
    words = ["run", "--method", "cavmae", "--task", "classification", "--set", "task.weights=w.pth"]
    refuse(words, "found neither a PyTorch nor a safetensors file", capsys, tmp_path)


@pytest.mark.parametrize("name", ["evil:Model", "evil.py:Model"])
def test_a_checkpoint_that_names_a_module_or_a_file_imports_none(
    name: str, state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "evil.py").write_text("open('ran', 'w')\n")
    says(method=name)(Path("w.safetensors"), state)
    refuse(["checkpoint", "import", "w.safetensors", "--out", "o.safetensors"], "unknown method", capsys, tmp_path)
