"""Which clips train and which are judged: never the same ones, unless asked for, and then only where nothing learns."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from labelled_clips import LabelledClips

from avbench.config import RunConfig
from avbench.data.corpus.pair import Corpus
from avbench.errors import InputError
from avbench.running.division import account
from avbench.running.plan import Plan, make_plan
from avbench.running.request import Request, resolve
from avbench.training import trained_on

SMALL = ("train.batch_size=2", "train.steps=1")


class Divided(LabelledClips):
    """Clips with a split each, by default none; ``ids`` may be given, too, and classes other names."""

    def __init__(
        self,
        n: int = 20,
        splits: Sequence[str] = (),
        *,
        names: Sequence[str] = (),
        classes: tuple[str, ...] = LabelledClips.class_names,
        indices: Sequence[int] | None = None,
    ) -> None:
        super().__init__(n, indices=indices)
        self._splits, self._names, self.class_names = splits, names, classes

    @property
    def splits(self) -> list[str]:
        return [self._splits[i] if self._splits else "" for i in self._indices]

    @property
    def ids(self) -> list[str]:
        return [self._names[i] if self._names else f"clip{i:03d}" for i in self._indices]

    def labels(self, i: int) -> tuple[str, ...]:
        return (self.class_names[self._indices[i] % 3],)

    def select(self, indices: Any) -> Any:
        chosen = [self._indices[int(i)] for i in indices]
        return Divided(splits=self._splits, names=self._names, classes=self.class_names, indices=chosen)


def configured(task: str, *sets: str, checkpoint: Path | None = None) -> RunConfig:
    config = resolve(Request(method="cavmae", task=task, data="FOLDER", sets=(*SMALL, *sets)))
    return config if checkpoint is None else dataclasses.replace(config, weights="checkpoint", checkpoint=checkpoint)


def plan(config: RunConfig, clips: Any, results: Path) -> Plan:
    return make_plan(config, clips, results)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A file of somebody's weights."""
    path = tmp_path / "weights.pth"
    path.write_bytes(b"weights")
    return path


def boxes(folder: Path, *ids: str) -> str:
    """Writes annotations as those of VGG-SS, and returns the setting that names them."""
    path = folder / "boxes.json"
    path.write_text(json.dumps([{"file": name, "class": "a", "bbox": [[0.1, 0.1, 0.5, 0.5]]} for name in ids]))
    return f"task.annotations={path}"


SMALL_BATCH = {"linear_probe": (), "knn": (), "classification": ("task.batch_size=6",)}  # no larger than the clips


@pytest.mark.parametrize("task", ["linear_probe", "classification"])
def test_a_task_that_trains_is_judged_on_held_out_clips_also_with_given_weights(
    task: str, tmp_path: Path, weights: Path
) -> None:
    clips = Divided()
    sets = SMALL_BATCH[task]
    given = plan(configured(task, *sets, checkpoint=weights), clips, tmp_path)
    own = plan(configured(task, *sets), clips, tmp_path)
    assert given.train is not None
    assert given.division.split == "test"
    assert not set(given.train.ids) & set(given.evaluated.ids)
    assert len(given.train) + len(given.evaluated) == len(clips)
    assert list(given.evaluated.ids) == list(own.evaluated.ids)


@pytest.mark.parametrize("task", ["linear_probe", "classification", "shuffled_pairs"])
@pytest.mark.parametrize("split", ["all", "train"])
def test_a_task_that_trains_is_not_judged_on_what_it_trains_on(task: str, split: str, tmp_path: Path) -> None:
    clips = Divided(20, ["train"] * 12 + ["test"] * 8)
    of = {"all": 20, "train": 12}[split]
    said = (
        rf"data.split: found {split}, but 12 of the {of} judged clips .* task '{task}' trains on .*valid: auto or test"
    )
    with pytest.raises(InputError, match=said):
        plan(configured(task, f"data.split={split}"), clips, tmp_path)


def test_listed_clips_that_train_are_not_judged(tmp_path: Path, weights: Path) -> None:
    clips = Divided(20, ["train"] * 12 + ["test"] * 8)
    (tmp_path / "some.txt").write_text("clip000\nclip015\nclip016\n")
    sets = [f"data.subset={tmp_path / 'some.txt'}"]
    found = plan(configured("linear_probe", *sets, checkpoint=weights), clips, tmp_path)
    assert list(found.evaluated.ids) == ["clip015", "clip016"]
    with pytest.raises(InputError, match=r"data.split: found all, but 1 of the 3 judged clips"):
        plan(configured("linear_probe", "data.split=all", *sets, checkpoint=weights), clips, tmp_path)
    (tmp_path / "some.txt").write_text("clip000\n")
    with pytest.raises(InputError, match=r"data.subset: found none of the 1 clips .* leaves 1 of them out"):
        plan(configured("linear_probe", *sets, checkpoint=weights), clips, tmp_path)


def test_what_auto_means_is_said_where_the_data_have_no_such_split(tmp_path: Path, weights: Path) -> None:
    for split, told in (("auto", "auto, here test"), ("test", "test")):
        with pytest.raises(InputError, match=rf"data.split: found {told}, valid: all, train, the splits"):
            plan(
                configured("retrieval", f"data.split={split}", checkpoint=weights), Divided(4, ["train"] * 4), tmp_path
            )


def test_an_id_in_two_splits_is_refused(tmp_path: Path) -> None:
    clips = Divided(6, ["train"] * 3 + ["test"] * 3, names=["a", "b", "c", "a", "d", "e"])
    with pytest.raises(InputError, match=r"1 of the 3 judged clips .* ids are in both splits \(a\)"):
        plan(configured("linear_probe"), clips, tmp_path)
    found = plan(configured("retrieval"), clips, tmp_path)  # which learns nothing from them: told, not refused
    assert [each.shared for each in found.exposures] == [1]


def test_a_task_that_trains_nothing_judges_what_is_held_out_of_the_pretraining_or_all(
    tmp_path: Path, weights: Path
) -> None:
    clips = Divided()
    own = plan(configured("retrieval"), clips, tmp_path)
    assert own.train is not None
    assert own.division.split == "test"
    assert not set(own.train.ids) & set(own.evaluated.ids)
    given = plan(configured("retrieval", checkpoint=weights), clips, tmp_path)
    assert (given.division.split, len(given.evaluated)) == ("all", 20)
    named = Divided(20, ["train"] * 12 + ["test"] * 8)
    ids = {tuple(plan(c, named, tmp_path).evaluated.ids) for c in (own.config, given.config)}
    assert ids == {tuple(f"clip{i:03d}" for i in range(12, 20))}


def test_annotated_clips_never_train_and_are_judged_whoever_trained(tmp_path: Path, weights: Path) -> None:
    clips = Divided()
    annotated = [f"clip{i:03d}" for i in range(0, 14, 2)]
    sets = boxes(tmp_path, *annotated, "elsewhere")
    own = plan(configured("localization", sets), clips, tmp_path)
    given = plan(configured("localization", sets, checkpoint=weights), clips, tmp_path)
    assert own.train is not None
    assert list(own.evaluated.ids) == list(given.evaluated.ids) == annotated
    assert own.division.split == given.division.split
    assert not set(own.train.ids) & set(annotated)
    assert len(own.train) == 13
    said = "judged: 7 of 20 clips, the annotated ones; left out: 13 without annotation"
    for each in (own, given):
        assert account(each.division.selection()) == f"{said}; 1 annotated samples without their clip"


def test_annotated_clips_of_other_splits_are_left_out_alike(tmp_path: Path, weights: Path) -> None:
    clips = Divided(20, ["train"] * 12 + ["test"] * 8)
    sets = boxes(tmp_path, "clip001", "clip013", "clip019")
    own = plan(configured("localization", sets), clips, tmp_path)
    given = plan(configured("localization", sets, checkpoint=weights), clips, tmp_path)
    assert list(own.evaluated.ids) == list(given.evaluated.ids) == ["clip013", "clip019"]
    assert own.division.left_out == {"without annotation": 6}
    assert given.division.left_out == {"of split train": 12, "without annotation": 6}


def test_nothing_is_left_to_train_where_all_clips_are_annotated(tmp_path: Path, weights: Path) -> None:
    clips = Divided(6)
    sets = boxes(tmp_path, *clips.ids)
    with pytest.raises(
        InputError,
        match=r"found 0 clips to pretrain on .* without the 6 annotated ones, which are judged\), .*--checkpoint",
    ):
        plan(configured("localization", sets), clips, tmp_path)
    assert len(plan(configured("localization", sets, checkpoint=weights), clips, tmp_path).evaluated) == 6
    with pytest.raises(InputError, match=r"none of 1 samples is of a judged clip .* look like 'x' and 'clip000'"):
        plan(configured("localization", boxes(tmp_path, "x")), clips, tmp_path)


def test_files_that_could_not_be_used_are_counted(tmp_path: Path, weights: Path) -> None:
    clips = Divided()
    clips.root = tmp_path
    (tmp_path / "rejected.csv").write_text('file,start,reason\na.mp4,0,no audio track\n"b\n.mp4",0,truncated\n')
    found = plan(configured("retrieval", checkpoint=weights), clips, tmp_path)
    said = "judged: 20 of 20 clips; left out: 2 files that could not be used (rejected.csv)"
    assert account(found.division.selection()) == said


def test_a_test_split_alone_needs_no_words(tmp_path: Path) -> None:
    clips = Divided(20, ["train"] * 12 + ["test"] * 8)
    assert account(plan(configured("retrieval"), clips, tmp_path).division.selection()) == ""


def test_of_two_sources_the_first_trains_as_a_whole_and_the_second_is_judged(tmp_path: Path) -> None:
    first, second = Divided(20), Divided(6, names=[f"other{i}" for i in range(6)])
    for task in ("retrieval", "linear_probe"):
        found = plan(configured(task, "data.eval_source=OTHER"), Corpus.pair(first, second), tmp_path)
        assert found.train is first
        assert (found.division.split, list(found.evaluated.ids)) == ("all", second.ids)
        assert [each.shared for each in found.exposures] == [0]


def test_of_two_sources_with_splits_the_one_s_train_and_the_other_s_test_are_used(tmp_path: Path) -> None:
    first = Divided(20, ["train"] * 15 + ["test"] * 5)
    second = Divided(6, ["train", "test"] * 3, names=[f"other{i}" for i in range(6)])
    found = plan(configured("linear_probe", "data.eval_source=OTHER"), Corpus.pair(first, second), tmp_path)
    assert found.train is not None
    assert (len(found.train), list(found.evaluated.ids)) == (15, ["other1", "other3", "other5"])
    assert found.division.left_out == {"of split train": 3}
    every = plan(
        configured("linear_probe", "data.eval_source=OTHER", "data.split=all"), Corpus.pair(first, second), tmp_path
    )
    assert len(every.evaluated) == 6
    with pytest.raises(InputError, match=r"data.split: found test, valid: all, as OTHER names no split"):
        plan(
            configured("retrieval", "data.eval_source=OTHER", "data.split=test"),
            Corpus.pair(first, Divided(6)),
            tmp_path,
        )


def test_clips_that_two_sources_share_are_refused_where_the_task_trains_and_counted_elsewhere(tmp_path: Path) -> None:
    corpus = Corpus.pair(Divided(20), Divided(6, names=["clip003", "b", "c", "d", "e", "clip004"]))
    with pytest.raises(InputError, match=r"--eval-data OTHER: 2 of the 6 judged clips .*\(clip003, clip004\)"):
        plan(configured("linear_probe", "data.eval_source=OTHER"), corpus, tmp_path)
    (found,) = plan(configured("retrieval", "data.eval_source=OTHER"), corpus, tmp_path).exposures
    assert (found.known, found.shared) == (True, 2)
    assert "trained on 2 of the 6 judged clips" in found.text()


def test_classes_of_two_sources_must_be_called_alike(tmp_path: Path) -> None:
    names = [f"other{i}" for i in range(6)]
    corpus = Corpus.pair(Divided(20), Divided(6, names=names, classes=("low", "High", "loud")))
    with pytest.raises(InputError, match=r"found 1 classes of the clips to judge \(High\) .* data.labels=FILE"):
        plan(configured("linear_probe", "data.eval_source=OTHER"), corpus, tmp_path)
    assert len(plan(configured("retrieval", "data.eval_source=OTHER"), corpus, tmp_path).evaluated) == 6


def ours(folder: Path, ids: Sequence[str]) -> Path:
    """Writes a weights file that says what it was trained on."""
    import torch

    from avbench.training.export import save_weights

    save_weights(folder / "w.safetensors", torch.nn.Linear(2, 2), extra=trained_on.write(folder, ids))
    return folder / "w.safetensors"


def test_judged_clips_that_weights_have_seen_are_counted(tmp_path: Path) -> None:
    path = ours(tmp_path, ["clip003", "clip004", "elsewhere"])
    (found,) = plan(configured("retrieval", checkpoint=path), Divided(), tmp_path).exposures
    assert (found.known, found.shared, found.judged) == (True, 2, 20)
    own = plan(configured("retrieval", "data.split=all"), Divided(), tmp_path)
    assert own.train is not None
    assert [each.shared for each in own.exposures] == [len(own.train)]


def test_fine_tuned_weights_judge_all_but_not_what_they_were_tuned_on_unasked(tmp_path: Path, weights: Path) -> None:
    foreign = plan(configured("classification", f"task.weights={weights}", checkpoint=weights), Divided(), tmp_path)
    assert len(foreign.evaluated) == 20
    assert [each.known for each in foreign.exposures] == [False]
    path = ours(tmp_path, ["clip003", "clip004"])
    config = configured("classification", f"task.weights={path}", checkpoint=weights)
    with pytest.raises(InputError, match=r"task.weights .* trained on 2 of the 20 judged clips; .*data.split=all"):
        plan(config, Divided(), tmp_path)
    asked = configured("classification", f"task.weights={path}", "data.split=all", checkpoint=weights)
    assert [each.shared for each in plan(asked, Divided(), tmp_path).exposures] == [2]


def test_the_option_is_passed_on_to_jobs() -> None:
    from avbench.commands.parse import parse
    from avbench.commands.pretrain import Command
    from avbench.running.options import ConfigOptions

    words = ConfigOptions(data="A", eval_data="B").arguments()
    assert words == ["--data", "A", "--eval-data", "B"]
    asked = parse(Command, "avbench pretrain", ["--method", "cavmae", *words])
    assert [request.eval_data for request in asked.requests(("cavmae",), ("",), (0,))] == ["B"]


@pytest.mark.parametrize("annotated", [True, False])
def test_a_job_that_pretrains_alone_cannot_know_what_a_task_s_annotations_hold_out(
    annotated: bool, tmp_path: Path
) -> None:
    from types import SimpleNamespace

    from avbench.launch.planner import jobs_of_runs
    from avbench.running.options import ConfigOptions

    sets = boxes(tmp_path, "clip003", "clip015")
    clips = Divided() if annotated else Divided(20, ["train"] * 12 + ["test"] * 8)
    found = plan(configured("localization", sets), clips, tmp_path)
    runner: Any = SimpleNamespace(execution=SimpleNamespace(results=tmp_path), plans=lambda _: [found])
    kinds = [job.kind for job in jobs_of_runs(runner, [found.config], ConfigOptions())]
    assert kinds == (["localization"] if annotated else ["pretrain", "localization"])


@pytest.mark.parametrize("task", ["linear_probe", "knn", "classification"])
def test_a_task_may_train_on_a_share_of_the_labels_while_pretraining_has_all_clips(task: str, tmp_path: Path) -> None:
    clips = Divided(60, ["train"] * 48 + ["test"] * 12)
    whole = plan(configured(task, *SMALL_BATCH[task]), clips, tmp_path)
    config = configured(task, *SMALL_BATCH[task], "data.labelled=0.25")
    part = plan(config, clips, tmp_path)
    assert part.pretrain == whole.pretrain
    assert part.evaluation != whole.evaluation
    assert part.evaluated.ids == whole.evaluated.ids
    assert part.exposures == whole.exposures
    assert part.train is not None
    assert whole.train is not None
    assert [sum(part.train.labels(i) == (name,) for i in range(12)) for name in Divided.class_names] == [4, 4, 4]
    assert set(part.train.ids) < set(whole.train.ids)
    again, other = (plan(dataclasses.replace(config, seed=seed), clips, tmp_path).train for seed in (0, 1))
    assert again is not None
    assert other is not None
    assert again.ids == part.train.ids != other.ids


def test_a_share_of_the_labels_changes_no_task_that_trains_on_none(tmp_path: Path) -> None:
    clips = Divided(60, ["train"] * 48 + ["test"] * 12)
    plans = [plan(configured("retrieval", *sets), clips, tmp_path) for sets in ((), ("data.labelled=0.25",))]
    assert plans[0].evaluation == plans[1].evaluation
