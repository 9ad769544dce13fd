"""What a machine can do, and the throughput of methods on it."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace

import pytest

from avbench.bench import methods
from avbench.bench.kinds import KINDS, as_shares, kind_of
from avbench.bench.machine import Clock, data_sheet_flops, matmul_flops, memory_bytes, peak_memory_bytes
from avbench.bench.methods import SEVEN, Options, Report, Throughput, benchmark, table
from avbench.cli import main
from avbench.commands.bench import PARTS
from avbench.errors import InputError, RunError

TINY = Options(methods=("cav",), size="tiny", batch=2, steps=2, device="cpu", precision="fp32", threads=1)


@pytest.fixture(scope="module")
def report() -> Report:
    return benchmark(TINY)


@pytest.mark.parametrize(
    ("gpu", "fp32", "bf16"),
    [
        ("NVIDIA H200", 67e12, 989.4e12),
        ("NVIDIA H200 NVL", 60e12, 835e12),
        ("NVIDIA H100 80GB HBM3", 67e12, 989.4e12),
        ("NVIDIA H100 PCIe", 51e12, 756e12),
        ("NVIDIA A100-SXM4-80GB", 19.5e12, 312e12),
        ("NVIDIA A100-SXM4-80GB MIG 1g.10gb", None, None),
        ("Some other GPU", None, None),
        ("", None, None),
    ],
)
def test_data_sheets_are_found_by_name(gpu: str, fp32: float | None, bf16: float | None) -> None:
    assert (data_sheet_flops(gpu, "fp32"), data_sheet_flops(gpu, "bf16")) == (fp32, bf16)


def test_clock_gives_the_time_between_marks() -> None:
    clock = Clock("cpu")
    for pause in (0.0, 0.02, 0.0):
        time.sleep(pause)
        clock.mark()
    first, second = clock.seconds()
    assert first >= 0.02 > second


def test_a_matrix_product_has_a_rate() -> None:
    assert 1e8 < matmul_flops("cpu", "fp32", repeats=1) < 1e15


def test_the_peak_of_memory_remembers_what_was_given_back() -> None:
    size = 2**28
    before = memory_bytes()
    block = bytearray(os.urandom(2**12) * (size // 2**12))
    del block
    assert peak_memory_bytes() >= before + 0.9 * size


def test_a_method_is_measured_in_a_process_of_its_own(report: Report) -> None:
    (row,) = report.rows
    assert (row.method, row.batch, row.threads) == ("cav", 2, 1)
    assert row.fastest_s <= row.step_s <= row.slowest_s
    # Weights, gradients and two averages at the least; the process's own libraries are not counted.
    assert 16 * row.parameters < row.peak_bytes < 2**30
    assert 0 < row.flops_per_s < 10 * report.matmul_flops


def test_figures_follow_from_each_other(report: Report) -> None:
    values = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    (row,) = values["rows"]
    assert row["clips_per_s"] == pytest.approx(2 / row["step_s"])
    assert row["flops_per_s"] == pytest.approx(row["step_flops"] * 2 / row["step_s"])
    assert row["mfu"] == pytest.approx(row["flops_per_s"] / values["matmul_flops"])
    assert row["mfu_data_sheet"] is None


def test_table_has_a_line_for_each_method_and_a_column_for_a_known_data_sheet(report: Report) -> None:
    rows = [replace(report.rows[0], method=name) for name in SEVEN]
    text = table(replace(report, rows=rows))
    names = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("|") and "--" not in line]
    assert names == ["method", *SEVEN] * 2  # the figures, and where the time goes
    assert "data sheet" not in text
    on_gpu = table(replace(report, machine={"gpu": "NVIDIA H200"}))
    assert "of data sheet %" in on_gpu
    assert "67000 by the data sheet" in on_gpu


def test_steps_on_clips_that_are_read_and_features_are_timed_as_well(report: Report) -> None:
    (row,) = report.rows
    assert row.fed_clips_per_s > 0
    assert 0 <= row.wait_share < 1  # the step is some of the time
    assert row.features_s > 0


def test_it_says_where_the_time_goes(report: Report) -> None:
    (row,) = report.rows
    assert sum(row.spent.values()) == pytest.approx(1)
    assert set(row.spent) <= set(KINDS)
    assert row.spent["products"] > 0
    assert {"attention", "optimiser", "LayerNorm"} <= set(row.spent)
    assert list(row.spent.values()) == sorted(row.spent.values(), reverse=True)
    text = table(report)
    assert f"{100 * row.spent['products']:.0f} |" in text.partition("Where a step's time goes")[2]


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        ("aten::mm", "products"),
        ("aten::addmm", "products"),
        ("aten::_scaled_dot_product_flash_attention_backward", "attention"),
        ("aten::native_layer_norm_backward", "LayerNorm"),
        ("aten::_fused_adam_", "optimiser"),
        ("aten::copy_", "copies"),
        ("aten::gelu", "elementwise"),
        ("aten::argsort", "sorting"),
        ("nccl:all_reduce", "between GPUs"),
        ("aten::view", "other"),
    ],
)
def test_operations_are_of_the_kind_that_their_name_says(operation: str, kind: str) -> None:
    assert kind_of(operation) == kind


def test_what_a_gpu_did_not_use_is_idle() -> None:
    assert as_shares({"products": 6.0, "other": 2.0}, 10.0) == {"products": 0.6, "other": 0.2, "idle": 0.2}
    assert as_shares({"products": 6.0, "other": 2.0}, 0.0) == {"products": 0.75, "other": 0.25}


def test_the_command_gives_its_options_to_the_methods(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, report: Report
) -> None:
    asked: list[Options] = []
    monkeypatch.setattr(methods, "benchmark", lambda options: asked.append(options) or report)
    assert main(["bench", "--device", "cpu", "--size", "tiny", "--steps", "2", "--batch", "3"]) == 0
    assert main(["bench", "methods", "--device", "cpu", "--compiled", "--no-deterministic"]) == 0
    assert asked == [
        Options(device="cpu", size="tiny", steps=2, batch=3),
        Options(device="cpu", compiled=True, deterministic=False),
    ]
    out = capsys.readouterr().out
    for word in ("MFU %", "wait %", "peak GB", "Where a step's time goes", "clips/s"):
        assert word in out
    assert main(["bench", "fbank", "--batch", "3"]) == 2
    assert "--batch: not used by fbank; valid with methods." in capsys.readouterr().err
    assert main(["bench", "--batch", "1"]) == 2
    assert "--batch: found 1, valid: at least 2" in capsys.readouterr().err


@pytest.mark.parametrize("name", SEVEN)
def test_every_method_has_features(name: str) -> None:
    method = methods._build(name, "tiny").eval()
    assert methods._time_features(method, methods._noise(method, 2), 1, "fp32", "cpu") > 0


def test_the_peak_is_the_best_of_all_processes(report: Report) -> None:
    row = report.rows[0]
    assert replace(report, rows=[row, replace(row, matmul_flops=9e15)]).matmul_flops == 9e15


def test_a_process_that_is_killed_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(methods, "measure", killed)
    with pytest.raises(RunError, match=r"cav: its process was killed.*--batch"):
        benchmark(TINY)


def killed(name: str, options: Options) -> Throughput:
    os._exit(9)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"methods": ()}, "--methods: found nothing"),
        ({"methods": ("cavmea",)}, "Did you mean 'cavmae'"),
        ({"size": "large"}, "unknown size"),
        ({"batch": -1}, "--batch: found -1"),
        ({"steps": 0}, "--steps: found 0"),
        ({"threads": -2}, "--threads: found -2"),
    ],
)
def test_options_are_checked(values: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Options(**values)  # type: ignore[arg-type]


def test_it_is_a_part_of_the_command() -> None:
    assert "methods" in PARTS
