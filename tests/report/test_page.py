from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import table_records
from page_records import HOSTILE, study

from avbench.commands.report import Command
from avbench.errors import InputError
from avbench.report.page.build import for_script, write
from avbench.report.page.gallery import galleries
from avbench.report.page.groups import board, metric_info
from avbench.report.page.runs import POINTS, curve, differences
from avbench.store import index
from avbench.store.reader import row_of
from avbench.store.records import read_per_sample, read_record, whole_record


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        return study(tmp_path_factory.mktemp("page"), patch)


@pytest.fixture(autouse=True)
def cache(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVBENCH_CACHE", str(results.parent / "cache"))


@pytest.fixture(scope="module")
def text(results: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("out") / "page.html"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AVBENCH_CACHE", str(results.parent / "cache"))
        written = write(results, out)
    assert written.records == 10
    assert written.size == out.stat().st_size
    return out.read_text(encoding="utf-8")


def data(text: str) -> dict[str, Any]:
    (found,) = re.findall(r'<script type="application/json" id="data-json">(.*?)</script>', text, re.S)
    values: dict[str, Any] = json.loads(found)
    return values


def test_nothing_in_it_is_asked_of_the_network(text: str) -> None:
    asked = []

    class Links(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            asked.extend(value or "" for name, value in attrs if name in ("src", "href", "srcset", "action", "poster"))

    Links().feed(text)
    assert asked
    assert all(value.startswith(("data:", "#")) for value in asked)
    assert "default-src 'none'" in text


def test_what_a_record_says_cannot_end_the_data(text: str) -> None:
    assert HOSTILE not in text
    assert any(HOSTILE in hardware for hardware in data(text)["hardware"])
    assert json.loads(for_script({"a": HOSTILE + "\u2028&"})) == {"a": HOSTILE + "\u2028&"}


def test_a_row_is_the_mean_over_seeds(results: Path, text: str) -> None:
    (row,) = [
        row
        for row in data(text)["groups"]
        if (row["method"], row["task"], row["weights"]) == ("cavmae", "retrieval", "pretrained")
    ]
    records = [read_record(results, name) for name in row["runs"]]
    values = [record["metrics"]["a2v/R@5"] for record in records if record]
    mean, sd, low, high, chance = row["values"]["a2v/R@5"]
    assert row["seeds"] == [0, 1]
    assert mean == pytest.approx(sum(values) / 2)
    assert sd == pytest.approx(abs(values[0] - values[1]) / 2**0.5, abs=1e-6)
    assert low <= mean <= high
    assert chance == pytest.approx(5 / 8)


def test_records_of_other_settings_are_rows_of_their_own(results: Path) -> None:
    records = [row for row in index.read(results).rows if (row.task, row.method) == ("retrieval", "cav")]
    other = whole_record(results, records[0].id) | {"id": "other"}
    other["config"]["method"]["temperature"] = 0.5
    rows = board([*records, row_of(other, results)], results)
    assert len(rows) == 3
    assert ("temperature=0.5",) in [row.settings for row in rows]


def test_runs_name_curves_and_what_differs_from_the_preset(results: Path, text: str) -> None:
    page = data(text)
    trained = [run for run in page["runs"].values() if run["curve"]]
    assert len(trained) == 4
    steps = page["curves"][trained[0]["curve"]]["step"]
    assert (len(steps), steps[0], steps[-1]) == (POINTS, 1, 200)
    record = next(row for row in index.read(results).rows if row.task == "retrieval")
    assert ["train.epochs", 3, 25] in (differences(record) or [])
    assert not any(key == "train.lr" for key, _, _ in differences(record) or [])


@pytest.mark.parametrize("content", ["", "step,loss\n", "step,loss\n1,0.5\n", "step,loss\n1,nan\n2,nan\n", "no\nlog\n"])
def test_a_log_without_a_curve_gives_none(tmp_path: Path, content: str) -> None:
    path = tmp_path / "stages" / "pretrain" / "a" / "metrics.csv"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    assert curve(tmp_path, "a") is None
    assert curve(tmp_path, "none") is None


def test_a_gallery_shows_what_the_run_ranked(results: Path) -> None:
    (gallery,) = galleries(board(index.read(results).rows, results), results)
    assert gallery["why"] == ""
    for direction, queries in gallery["directions"].items():
        assert queries
        for query in queries:
            assert [row["method"] for row in query["rows"]] == ["cav", "cavmae"]
            for row in query["rows"]:
                outputs = read_per_sample(results, gallery["runs"][row["method"]])
                rank = dict(zip(outputs["id"].tolist(), outputs[f"{direction}_rank"].tolist(), strict=True))[
                    query["query"]
                ]
                assert row["rank"] == rank
                found = list(row["found"])
                assert (query["query"] in found) == (rank <= len(found))
                if query["query"] in found:
                    assert found.index(query["query"]) + 1 == rank
                assert set(found) <= gallery["clips"].keys()
    assert all(clip["sound"].startswith("data:audio/mpeg;base64,") for clip in gallery["clips"].values())


def test_without_its_clips_the_gallery_says_so_and_the_rest_is_there(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVBENCH_CACHE", str(tmp_path / "empty"))
    write(results, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "no longer on this machine" in page
    assert not data(page)["galleries"][0]["clips"]
    assert data(page)["groups"]
    assert not (tmp_path / "empty").exists()


def test_no_records_and_no_such_data_are_refused(results: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found no records"):
        write(tmp_path, tmp_path / "page.html")
    with pytest.raises(InputError, match="valid: soundshapes"):
        Command(results=results, out=tmp_path / "page.html", data="vggsound").execute()
    with pytest.raises(InputError, match="found a folder"):
        Command(results=results, out=tmp_path).execute()


def test_ranks_and_losses_are_better_when_less_and_controls_have_no_best() -> None:
    assert [metric_info(key)["up"] for key in ("a2v/R@1", "a2v/median_rank", "audio/uniform@0.75/mse")] == [
        True,
        False,
        False,
    ]
    assert not metric_info("oracle/AUC")["ranked"]
    assert metric_info("a2v/R@10")["label"] == "R@10, audio → visual"


def test_a_task_is_called_by_its_proper_name(tmp_path: Path) -> None:
    """Also one that is not installed here."""
    names = {"knn": "kNN", "linear_probe": "Linear probe", "vggsounder": "VGGSounder", "of_others": "Of others"}
    for i, task in enumerate(names):
        table_records.scored(tmp_path / "results", f"{i}" * 16, "cavmae", task, {"joint": 3.0}, device_hours=0.1)
    write(tmp_path / "results", tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert sorted(re.findall(r'class="card-task">(.*?)<', text)) == sorted(names.values())
    tasks = {name: task["title"] for name, task in data(text)["tasks"].items()}
    assert tasks == names | {"linear_probe": "linear probe", "of_others": "of others"}


def test_needs_no_torch_where_nothing_is_in_painted(tmp_path: Path) -> None:
    for seed in range(2):
        table_records.scored(tmp_path, f"{seed}" * 16, "cavmae", "retrieval", {"a2v": 3.0}, device_hours=0.1)
    code = "import sys; from avbench.cli import main; sys.exit(main(sys.argv[1:]) or 'torch' in sys.modules)"
    words = ["report", "--results", str(tmp_path), "--out", str(tmp_path / "page.html")]
    assert subprocess.run([sys.executable, "-c", code, *words], check=False).returncode == 0
    assert (tmp_path / "page.html").exists()
