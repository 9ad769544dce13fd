"""VGGSounder from recorded scores: metrics by brute force, order of classes, records of runs and files, refusals."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.metrics import average_precision_score

from avbench import registry
from avbench.cli import main
from avbench.data.annotations.vggsounder import COLUMNS, read_vggsounder
from avbench.data.catalogue.entry import entry
from avbench.errors import InputError
from avbench.launch.grid import expand
from avbench.metrics import classification
from avbench.report.tables.tables_of import tables_of
from avbench.store.records import all_records, write_record
from avbench.tasks.vggsounder import SUBSETS, TASK, VggsounderConfig

Array = npt.NDArray[Any]
CLASSES = entry("vggsound").class_names
N = 40
QUICK = VggsounderConfig(resamples=20)


def annotate(path: Path, rows: list[tuple[str, str, str]], flags: dict[str, str] | None = None) -> Path:
    """Writes annotations in the form in which they are published."""
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for clip, label, modality in rows:
            table.writerow([clip, label, modality, "False", (flags or {}).get(clip, "False"), "False"])
    return path


def made(folder: Path, n: int = N) -> tuple[Path, dict[str, Array], list[list[tuple[int, str]]]]:
    """Annotations of clips with one to three labels, and scores that know the first of them."""
    rng = np.random.default_rng(0)
    ids = [f"clip{i:07d}_{i:06d}" for i in range(n)]
    own = [
        [(int(c), str(rng.choice(["A", "V", "AV"]))) for c in rng.choice(309, size=rng.integers(1, 4), replace=False)]
        for _ in ids
    ]
    rows = [(name, CLASSES[c], mode) for name, labels in zip(ids, own, strict=True) for c, mode in labels]
    path = annotate(folder / "vggsounder.csv", rows, {ids[3]: "True", ids[4]: "True"})
    target = np.array([labels[0][0] for labels in own])
    held: dict[str, Array] = {"id": np.array(ids), "target": target}
    for stream, strength in (("audio", 2.0), ("visual", 1.0), ("joint", 2.5)):
        scores = rng.standard_normal((n, 309)).astype(np.float32)
        scores[np.arange(n), target] += strength
        held[f"{stream}/scores"] = scores
    return path, held, own


def save(path: Path, arrays: dict[str, Array]) -> Path:
    np.savez(path, allow_pickle=False, **arrays)  # type: ignore[arg-type]
    return path


def brute(held: dict[str, Array], own: list[list[tuple[int, str]]]) -> dict[str, float]:
    """Every metric, clip by clip."""
    letters = {"all": ("A", "V", "AV"), "A": ("A", "AV"), "V": ("V", "AV"), "AV": ("AV",)}
    letters |= {"A_only": ("A",), "V_only": ("V",)}
    found: dict[str, float] = {}
    right: dict[str, list[bool]] = {}
    for stream in ("audio", "visual", "joint"):
        order = np.argsort(-held[f"{stream}/scores"], axis=1)
        for subset, modes in letters.items():
            sets = [{c for c, mode in labels if mode in modes} for labels in own]
            some = [i for i, labels in enumerate(sets) if labels]
            for k in (1, 5):
                hits = [bool(sets[i] & set(order[i, :k].tolist())) for i in some]
                found[f"{stream}/{subset}/hit@{k}"] = float(np.mean(hits))
            true = sum(order[i, 0] in sets[i] for i in some)
            exact = [sets[i] == {order[i, 0]} for i in some]
            found[f"{stream}/{subset}/accuracy@1"] = float(np.mean(exact))
            marked = np.array([[c in sets[i] for c in range(309)] for i in some])
            present = [c for c in range(309) if marked[:, c].any()]
            values = held[f"{stream}/scores"][some]
            found[f"{stream}/{subset}/mAP"] = float(
                np.mean([average_precision_score(marked[:, c], values[:, c]) for c in present])
            )
            found[f"{stream}/{subset}/F1@1"] = 2 * true / (len(some) + sum(len(sets[i]) for i in some))
        right[stream] = [order[i, 0] in {c for c, _ in labels} for i, labels in enumerate(own)]
        marks = np.zeros((len(own), 309), bool)
        for i, labels in enumerate(own):
            marks[i, [c for c, _ in labels]] = True
        for name, value in classification.summarise(held[f"{stream}/scores"], marks).items():
            found[f"{stream}/all/{name}"] = value
    for name, alone in {"audio": ("audio",), "visual": ("visual",), "both": ("audio", "visual")}.items():
        lost = [all(right[each][i] for each in alone) and not right["joint"][i] for i in range(len(own))]
        found[f"{name}/confusion"] = float(np.mean(lost))
    return found


def test_metrics_equal_those_of_counting(tmp_path: Path) -> None:
    path, held, own = made(tmp_path)
    result = TASK.evaluate_stored(save(tmp_path / "scores.npz", held), path, QUICK)
    assert result.metrics == pytest.approx(brute(held, own))
    without = {key for key in result.metrics if key.endswith("/mAP") and "/all/" not in key}
    assert set(result.ci95) == set(result.metrics) - without
    assert set(result.chance) == {key for key in result.metrics if key.count("/") == 2}
    for key, (low, high) in result.ci95.items():
        assert low - 1e-9 <= result.metrics[key] <= high + 1e-9 or "hit" not in key
    assert TASK.recompute(result.per_sample, held["id"].tolist(), QUICK) == result.metrics
    few = held["id"].tolist()[::2]
    part = TASK.recompute(result.per_sample, few, QUICK)
    halved = {name: values[::2] for name, values in held.items()}
    assert part == pytest.approx(brute(halved, own[::2]))


def test_the_order_of_columns_is_found_or_named(tmp_path: Path) -> None:
    path, held, own = made(tmp_path)
    expected = brute(held, own)
    alphabetical = [CLASSES.index(name) for name in sorted(CLASSES)]
    sorted_held = {name: values[:, alphabetical] if "scores" in name else values for name, values in held.items()}
    sorted_held["target"] = np.argsort(alphabetical)[held["target"]]
    named = {name: values for name, values in sorted_held.items() if name != "target"}
    named["classes"] = np.array(sorted(CLASSES))
    for arrays in (sorted_held, named):
        result = TASK.evaluate_stored(save(tmp_path / "scores.npz", arrays), path, QUICK)
        assert result.metrics == pytest.approx(expected)


def test_clips_with_a_flag_and_clips_that_are_not_annotated_are_left_out(tmp_path: Path) -> None:
    path, held, own = made(tmp_path)
    config = VggsounderConfig(resamples=0, without=("static_image",))
    result = TASK.evaluate_stored(save(tmp_path / "scores.npz", held), path, config)
    kept = [i for i in range(N) if i not in (3, 4)]
    assert (result.n, result.ci95) == (38, {})
    assert result.metrics == pytest.approx(
        brute({name: values[kept] for name, values in held.items()}, [own[i] for i in kept])
    )
    more = {name: np.concatenate([values, values[:1]]) for name, values in held.items()}
    more["id"] = np.array([*held["id"], "another"])
    assert TASK.evaluate_stored(save(tmp_path / "more.npz", more), path, QUICK).n == N


def run_of(results: Path, held: dict[str, Array], seed: int) -> str:
    """A record of a probe on VGGSound, as a run leaves it."""
    record = {
        "schema": 3,
        "id": f"{seed:016x}",
        "method": "cavmae",
        "task": "linear_probe",
        "weights": "pretrained",
        "data": "vggsound",
        "data_sha256": "clips",
        "split": "test",
        "seed": seed,
        "precision": "fp32",
        "n": N,
        "ids_sha256": "0",
        "metrics": {},
        "chance": {},
        "ci95": {},
        "config": {"method": {"name": "cavmae"}, "task": {"name": "linear_probe", "frames": "mean", "resamples": 9}},
        "stages": {},
        "created": "2026-01-01T00:00:00+00:00",
        "git": {},
        "wall_s": {},
        "device_hours": 0.0,
    }
    write_record(results, record, held)
    return str(record["id"])


def test_the_scores_of_a_run_become_a_record_of_the_same_method_and_seed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, held, own = made(tmp_path)
    results = tmp_path / "results"
    runs = [run_of(results, held, seed) for seed in (1, 2)]
    words = ["evaluate", "--task", "vggsounder", "--annotations", str(path), "--results", str(results)]
    for run in runs:
        assert main([*words, "--run", run, "--set", "task.resamples=20", "--format", "json"]) == 0
        shown = json.loads(capsys.readouterr().out)
        assert shown["metrics"] == pytest.approx(brute(held, own))
    made_of = {each["judged_run"]: each for each in all_records(results) if each["task"] == "vggsounder"}
    assert set(made_of) == set(runs)
    assert {each["seed"] for each in made_of.values()} == {1, 2}
    (of,) = {(each["config"]["task"]["of"], each["config"]["task"]["of_options"]) for each in made_of.values()}
    assert of[0] == "linear_probe"
    before = len(list(all_records(results)))
    assert main([*words, "--run", runs[0], "--set", "task.resamples=20"]) == 0  # reused
    assert len(list(all_records(results))) == before
    (table,) = tables_of(results, ["table_vggsounder"])
    (line,) = (row for row in table.body if row.stub[0] == "CAV-MAE")
    probed = line.cells[len(line.cells) // 2 :]
    assert probed[0].mean == pytest.approx(100 * brute(held, own)["audio/A/hit@1"])
    assert probed[0].n_seeds == 2
    for command in (["tables", "--cost"], ["report"], ["status"], ["list", "runs"]):
        assert main([*command, "--results", str(results)]) == 0, command
    assert main(["compare", *(each["id"] for each in made_of.values()), "--results", str(results)]) == 0
    capsys.readouterr()
    assert main(["tables", "--missing", "table_vggsounder", "--results", str(results)]) == 0
    assert "--task vggsounder" not in capsys.readouterr().out


def test_a_file_of_scores_is_recorded_like_any_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, held, own = made(tmp_path)
    scores = save(tmp_path / "theirs.npz", held)
    words = ["--features", str(scores), "--annotations", str(path), "--results", str(tmp_path / "results")]
    assert main(["evaluate", "--task", "vggsounder", *words, "--name", "mine", "--data", "vggsound"]) == 0
    assert "audio/V_only" in capsys.readouterr().out
    (record,) = all_records(tmp_path / "results")
    assert (record["method"], record["weights"], record["data"]) == ("mine", "given", "vggsound")
    assert record["metrics"] == pytest.approx(brute(held, own))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"target": None}, "found neither classes nor target"),
        ({"target": np.full(N, 400)}, "target: found classes from 400 to 400, valid: 0 to 308"),
        ({"target": np.arange(N)}, "found clips whose own classes are not those annotated"),
        ({"joint/scores": np.ones((N, 4))}, "found scores of 4 classes, valid: STREAM/scores of VGGSound's 309"),
        ({"id": np.array([f"x{i}" for i in range(N)])}, f"none of its {N} clips is annotated"),
        ({"classes": np.array([f"c{i}" for i in range(309)])}, "classes: found other names than VGGSound's"),
        ({"audio/scores": np.full((N, 309), np.nan)}, "found values that are not finite"),
    ],
)
def test_scores_that_cannot_be_judged_are_refused(tmp_path: Path, changed: dict[str, Any], told: str) -> None:
    path, held, _ = made(tmp_path)
    arrays = {name: values for name, values in (held | changed).items() if values is not None}
    with pytest.raises(InputError, match=told.replace("(", r"\(")):
        TASK.evaluate_stored(save(tmp_path / "scores.npz", arrays), path, QUICK)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([("a", "dog barking", "B")], ":2: found 'B', valid: modality A, V, AV"),
        ([("a", "no such class", "A")], ":2: unknown class of vggsound 'no such class'"),
        ([("a", "dog barking", "A"), ("a", "dog barking", "V")], ":3: found the label 'dog barking' a second time"),
        ([], "found no rows"),
    ],
)
def test_annotations_that_say_something_else_are_refused(
    tmp_path: Path, rows: list[tuple[str, str, str]], told: str
) -> None:
    with pytest.raises(InputError, match=told):
        read_vggsounder(annotate(tmp_path / "bad.csv", rows))
    (tmp_path / "other.csv").write_text("id,label\n")
    with pytest.raises(InputError, match="missing video_id, modality"):
        read_vggsounder(tmp_path / "other.csv")


def test_the_published_annotations_are_read(shared: Path) -> None:
    found = read_vggsounder(shared / "data" / "annotations" / "vggsounder" / "vggsounder.csv")
    assert (len(found.ids), found.marks.shape) == (12014, (12014, 309))
    assert [int(np.isin(found.marks, SUBSETS[name]).sum()) for name in ("AV", "A_only", "V_only")] == [
        18377,
        10149,
        983,
    ]
    assert int(found.flags["static_image"].sum()) == 768 or found.flags["static_image"].any()


def test_no_run_can_do_it_and_all_tasks_leave_it_out(capsys: pytest.CaptureFixture[str]) -> None:
    task = registry.find("task", "vggsounder")
    assert registry.of_records(task)
    assert registry.methods_for(task) == ()
    assert all("vggsounder" not in tasks for tasks in expand(["all"], ["all"]).tasks.values())
    assert main(["run", "--method", "cavmae", "--task", "vggsounder"]) == 2
    assert "it judges recorded scores (evaluate --run ID)" in capsys.readouterr().err
    assert main(["evaluate", "--task", "knn", "--run", "x"]) == 2
    assert "--run: not used by task 'knn', valid: vggsounder" in capsys.readouterr().err
    assert main(["evaluate", "--task", "vggsounder", "--features", "x.npz"]) == 2
    assert "--annotations: found nothing" in capsys.readouterr().err
