"""``avbench compare`` on tiny runs, from videos to the table: a run on more clips gives, on fewer, what those gave."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from avbench.cli import main
from avbench.compare.run import find
from avbench.store.records import all_records, read_per_sample, read_record

SMALL = ["--set", "data.train_clips=16", "data.test_clips=12", "train.batch_size=8", "train.steps=2", "train.workers=0"]
TASKS = ["retrieval", "linear_probe"]
QUICK = ["--method", "cavmae", "--task", *TASKS, *SMALL]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tasks on the test clips and on eight of them, of one training."""
    results = tmp_path_factory.mktemp("compare")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AVBENCH_CACHE", str(results / "cache"))
        assert main(["run", *QUICK, "--results", str(results)]) == 0
        first = next(all_records(results))["id"]
        (results / "some.txt").write_text("\n".join(read_per_sample(results, first)["id"][::-1][:8]))
        assert main(["run", *QUICK, f"data.subset={results / 'some.txt'}", "--results", str(results)]) == 0
    return results


def pair(results: Path, task: str) -> list[str]:
    """The runs on eight clips and on all test clips, of the trained model."""
    found = [r for r in all_records(results) if (r["task"], r["weights"]) == (task, "pretrained")]
    return [r["id"] for r in sorted(found, key=lambda r: r["n"])]


@pytest.mark.parametrize("task", TASKS)
def test_fewer_clips_of_a_run_give_what_a_run_on_them_gave(
    runs: Path, tmp_path: Path, task: str, capsys: pytest.CaptureFixture[str]
) -> None:
    small, large = pair(runs, task)
    out = tmp_path / "out.json"
    words = ["compare", small[:8], large[:8], "--common-ids", "--results", str(runs), "--json", str(out)]
    assert main(words) == 0
    text = capsys.readouterr()
    assert text.err == ""
    assert "data.subset" in text.out
    (comparison,) = json.loads(out.read_text())["comparisons"]
    assert comparison["n"] == 8
    assert comparison["left_out"] == []
    for name, row in comparison["metrics"].items():
        assert row["first"] == read_record(runs, small)["metrics"][name]  # type: ignore[index]
        assert row["second"] == pytest.approx(row["first"], rel=1e-4, abs=1e-6)


def test_without_common_ids_a_warning_and_no_statistics(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *pair(runs, "retrieval"), "--results", str(runs)]) == 0
    text = capsys.readouterr()
    assert text.err.startswith("warning: ")
    assert "8 in common" in text.err
    assert "p (signs)" not in text.out


def test_every_run_gives_its_own_metrics_again(runs: Path) -> None:
    for record in all_records(runs):
        run = find(runs, record["id"])
        assert run.task.recompute(run.outputs, run.ids, run.options) == record["metrics"]
