"""What works for a method works for anybody's encoder: ids, settings, seeds, processes, tables, cost."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from avbench import cli
from avbench.encoders.adapted import Adapted
from avbench.running.asked import Request
from avbench.running.identity import weights_key
from avbench.running.request import resolve
from avbench.store.extracted import arrays

Judge = Callable[..., tuple[int, list[dict[str, Any]]]]
# As the issue that asked for it has it.
TEN_LINES = """
    sample_rate, seconds = 16_000, 10.0
    frames = 4

    def load(self, device, checkpoint=None): ...
    def audio(self, waves, rate):
        return torch.stack([torch.stack([w.std(), w.abs().mean()]) for w in waves])
    def visual(self, frames, times):
        return torch.stack([f.float().mean((0, 1, 2))[:2] for f in frames])
"""
PLAIN = f"class Mine(avbench.Encoder):\n{TEN_LINES}"
SCALED = (
    PLAIN
    + """
    def __init__(self, power: float = 1.0, kind="mean"):
        self.power = power
        assert kind in ("mean", "max")
"""
)

DRAWN = """
class Mine(avbench.Encoder):
    def __init__(self, drawn: bool = False):
        self.random = drawn

    def load(self, device, checkpoint=None):
        self.weight = torch.rand(2)

    def audio(self, waves, rate):
        return self.weight.repeat(len(waves), 1)
"""


def test_two_tasks_a_table_and_a_report(judge: Judge, capsys: pytest.CaptureFixture) -> None:
    status, records = judge(PLAIN, "--report", task="retrieval linear_probe")
    shown = capsys.readouterr().out
    assert status == 0
    assert shown.endswith("\nreport: results/report.html\n")
    assert {record["task"] for record in records} == {"retrieval", "linear_probe"}
    assert {record["weights"] for record in records} == {"given"}
    assert not any(record["trained_on"]["known"] for record in records)
    assert shown.count("Mine ") == 2
    assert "Mine" in Path("results/report.html").read_text(encoding="utf-8")
    status, again = judge(PLAIN, task="retrieval linear_probe")
    assert (status, again) == (0, [])
    assert capsys.readouterr().out.count("(reused, nothing computed)") == 2


def test_it_hears_the_waveform_and_sees_the_pictures(judge: Judge, videos: Path) -> None:
    import av

    _, (record,) = judge(PLAIN)
    found = arrays(Path("results/stages/vectors") / record["stages"]["vectors"][0])
    ids = json.loads((Path("results/stages/vectors") / record["stages"]["vectors"][0] / "ids.json").read_text())
    path = next(videos.glob(f"*/{ids[0]}.mp4"))
    with av.open(str(path)) as container:
        parts = [frame.to_ndarray().mean(axis=0) for frame in container.decode(audio=0)]
    wave = torch.from_numpy(np.concatenate(parts).astype(np.float32))
    assert found["audio"][0, 0, 1] == pytest.approx(float(wave.abs().mean()), rel=0.05)
    with av.open(str(path)) as container:
        pixels = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    assert found["visual"][0, 0] == pytest.approx(pixels.mean((0, 1, 2))[:2], abs=3)


def test_features_are_written_of_an_encoder_and_judge_as_its_run(
    judge: Judge, videos: Path, capsys: pytest.CaptureFixture
) -> None:
    judge(PLAIN, "--set", "data.split=all")
    words = ["features", "--encoder", "mine.py:Mine", "--data", str(videos), "--out", "x.npz"]
    assert cli.main([*words, "--set", "train.workers=0"]) == 0
    with np.load("x.npz") as file:
        assert (file["audio"].shape, file["visual"].shape) == ((len(file["id"]), 1, 2),) * 2
    assert len(list(Path("results/stages/vectors").iterdir())) == 1  # those of the run
    for wrong in (["--encoder", "cavmae"], ["--method", "cav", "--encoder", "mine.py:Mine"], []):
        assert cli.main(["features", *wrong, "--data", str(videos), "--out", "y.npz"]) == 2
    assert capsys.readouterr().err.count("valid: ") == 3
    assert not Path("y.npz").exists()


def test_an_id_holds_source_arguments_and_checkpoint_but_no_path(judge: Judge) -> None:
    _, (plain,) = judge(SCALED)
    _, (set_,) = judge(SCALED, "--set", "encoder.power=2")
    _, (edited,) = judge(SCALED + "\n# edited\n")
    Path("weights.pt").write_bytes(b"1")
    _, (weights,) = judge(SCALED, "--checkpoint", "weights.pt")
    assert len({each["id"] for each in (plain, set_, edited, weights)}) == 4
    assert set_["config"]["method"]["power"] == 2.0
    Path("elsewhere").mkdir()
    Path("elsewhere/mine.py").write_text(Path("mine.py").read_text(), encoding="utf-8")
    assert cli.main(["run", "--encoder", "elsewhere/mine.py:Mine", "--data", plain["config"]["data"]["source"]]) == 0
    assert len(list(Path("results/runs").iterdir())) == 4  # the same file at another place is the same encoder


def test_what_it_imports_from_beside_it_belongs_to_its_id(judge: Judge) -> None:
    source = PLAIN + "\n    def nothing(self):\n        import beside_it\n"
    Path("beside_it.py").write_text("A = 1\n", encoding="utf-8")
    look = (
        "from pathlib import Path; from avbench.registry.encoder_source import of_file; print(of_file(Path('mine.py')))"
    )
    command = [sys.executable, "-c", look]
    judge(source)
    before = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    Path("beside_it.py").write_text("A = 2\n", encoding="utf-8")
    after = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "beside_it.py" in before
    assert before != after


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["encoder.powr=2"], "unknown key 'encoder.powr'. Did you mean 'power'?"),
        (["encoder.power=big"], "encoder.power: found 'big', valid: a number"),
        (["input.image_size=64"], "input.image_size: not used with an encoder; it says itself what it hears and sees"),
        (["train.steps=3"], "train.steps: not used with an encoder"),
        (["method.power=2"], "unknown section 'method'"),
        (["encoder.power=2", "--preset", "finetune-audioset20k-a"], "found task 'retrieval', valid: classification"),
        (["encoder.kind=least"], "its constructor failed: AssertionError"),
    ],
)
def test_settings_are_checked(judge: Judge, capsys: pytest.CaptureFixture, words: list[str], said: str) -> None:
    status, records = judge(SCALED, "--set", *words)
    assert (status, records) == (2, [])
    assert said in capsys.readouterr().err


def test_seeds_matter_where_weights_are_drawn_and_there_alone(judge: Judge) -> None:
    drawn = PLAIN.replace("): ...", "):\n        self.w = torch.randn(2, 5)")
    for each in ("waves", "frames"):
        drawn = drawn.replace(f"in {each}])", f"in {each}]) @ self.w")
    _, records = judge(drawn, "--seeds", "0", "1")
    assert len({each["stages"]["vectors"][0] for each in records}) == 1
    assert records[0]["metrics"] == records[1]["metrics"]
    _, records = judge(drawn.replace("frames = 4", "random = True; frames = 4"), "--seeds", "0", "1")
    assert len({each["stages"]["vectors"][0] for each in records}) == 2
    first, second = (arrays(Path("results/stages/vectors") / each["stages"]["vectors"][0]) for each in records)
    assert np.abs(first["audio"] - second["audio"]).max() > 1e-3


def test_processes_share_an_extraction(judge: Judge) -> None:
    source = SCALED.replace("frames = 4", "batch_size = 2; frames = 4")
    _, (one,) = judge(source)
    status, (two,) = judge(source, "--results", "other", "--processes", "2")
    assert status == 0
    assert (two["id"], two["metrics"]) == (one["id"], one["metrics"])


def test_a_plan_names_the_encoder_and_writes_nothing(judge: Judge, capsys: pytest.CaptureFixture) -> None:
    judge(PLAIN)
    capsys.readouterr()
    before = sorted(Path("results").rglob("*"))
    status, _ = judge(PLAIN, "--dry-run", "--force")
    shown = capsys.readouterr().out
    assert status == 0
    assert "mine.py:Mine retrieval" in shown
    assert "1 evaluations" in shown
    assert "unknown" not in shown  # the first run told what it costs
    assert sorted(Path("results").rglob("*")) == before


def test_a_name_that_is_a_methods_is_refused(capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["run", "--encoder", "cavmae"]) == 2
    assert "found a method, valid: --method cavmae" in capsys.readouterr().err
    assert cli.main(["run", "--encoder", "nothing"]) == 2
    assert "Valid: FILE.py:Class, PACKAGE.MODULE:Class" in capsys.readouterr().err


def test_the_package_offers_the_class_without_torch() -> None:
    text = "import sys, avbench; avbench.Encoder; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", text], check=True)


def test_a_cluster_gets_a_command_for_it(judge: Judge, videos: Path) -> None:
    from avbench.commands.launching import ElsewhereOptions
    from avbench.launch.planner import jobs_of_runs
    from avbench.running.runner import Execution, Runner

    judge(PLAIN, "--dry-run")
    # A cluster of GPUs, where methods compute in bf16; an encoder computes as it is written.
    options = ElsewhereOptions(data=str(videos), device="cpu", precision="bf16", unnamed=True, results=Path("other"))
    runner = Runner(Execution(results=Path("other"), device="cpu"))
    (config,) = runner.resolve_all(options.requests(("mine.py:Mine",), ("retrieval",), (0,)))
    (job,) = jobs_of_runs(runner, [config], options)
    assert config.precision == "fp32"
    assert job.command.startswith("avbench run --encoder mine.py:Mine --task retrieval --seeds 0 --data ")
    assert "--precision fp32" in job.command
    assert cli.main([*job.arguments]) == 0
    assert (Path("other") / job.makes[0] / "record.json").is_file()


def test_an_argument_may_say_that_its_weights_are_drawn(tmp_path: Path) -> None:
    source = "import avbench\nimport torch\n" + textwrap.dedent(DRAWN)
    (tmp_path / "mine.py").write_text(source, encoding="utf-8")
    name = f"{tmp_path}/mine.py:Mine"
    for drawn in (True, False):
        request = Request(method=name, task="linear_probe", sets=(f"encoder.drawn={drawn}".lower(),))
        configs = [resolve(dataclasses.replace(request, seed=seed)) for seed in (0, 1)]
        weights = [Adapted(config, "cpu").encoder.weight for config in configs]
        assert (weights_key(configs[0], None) != weights_key(configs[1], None)) == drawn
        assert (not torch.equal(*weights)) == drawn


def test_a_sweep_may_vary_its_arguments(judge: Judge, videos: Path) -> None:
    judge(SCALED, "--dry-run")
    Path("power.yaml").write_text(
        f"summary: the power\nmethod: mine.py:Mine\ntask: [retrieval]\ndata: {videos}\n"
        "space: {encoder.power: [1, 2]}\nobjectives: {retrieval a2v/R@5: maximize}\n",
        encoding="utf-8",
    )
    assert cli.main(["sweep", "power.yaml", "--parallel", "1", "--set", "train.workers=0"]) == 0
    records = [json.loads(path.read_text()) for path in Path("results/runs").glob("*/record.json")]
    assert sorted(record["config"]["method"]["power"] for record in records) == [1.0, 2.0]


def test_encoders_of_packages_are_found_by_module_and_by_name(
    judge: Judge, videos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    judge(PLAIN, "--dry-run")
    Path("theirs").mkdir()
    Path("theirs/__init__.py").write_text("", encoding="utf-8")
    Path("theirs/ears.py").write_text(Path("mine.py").read_text(), encoding="utf-8")
    info = Path("theirs-1.0.dist-info")
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[avbench.encoders]\near = theirs.ears:Mine\n")
    monkeypatch.syspath_prepend(str(Path.cwd()))
    for name in ("theirs.ears:Mine", "ear"):
        assert cli.main(["run", "--encoder", name, "--data", str(videos), "--set", "train.workers=0"]) == 0
    assert len(list(Path("results/runs").iterdir())) == 1  # one encoder, whatever it is called by
    capsys.readouterr()
    assert cli.main(["list", "encoders"]) == 0
    assert "theirs.ears:Mine" in capsys.readouterr().out
    assert cli.main(["run", "--encoder", "mine.py", "--data", str(videos)]) == 2
    assert "--encoder mine.py: found no class, valid: mine.py:Mine." in capsys.readouterr().err
    assert cli.main(["pretrain", "--method", "mine.py:Mine", "--data", str(videos)]) == 2
    assert "encoder 'mine.py:Mine': found nothing to pretrain" in capsys.readouterr().err
