"""The stages of a run: what its task needs, in order, and nothing made that nobody reads."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from avbench.config import RunConfig
from avbench.data.corpus.pair import Corpus
from avbench.errors import InputError
from avbench.running import pretraining, stages
from avbench.running.execution import Execution
from avbench.running.plan import Plan, make_plan
from avbench.running.request import Request
from avbench.running.runner import Runner
from avbench.running.subject import ReadySubject
from avbench.store.records import all_records
from avbench.tasks.base import TaskCard

SMALL = ("data.train_clips=8", "data.test_clips=8", "train.batch_size=4", "train.steps=1", "train.workers=0")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """A few generated clips."""
    folder = tmp_path_factory.mktemp("plan")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AVBENCH_CACHE", str(folder / "cache"))
        runner = Runner(Execution(results=folder, progress=False))
        return runner.corpus(configured("retrieval"))


def configured(task: str, *sets: str, weights: str = "pretrained") -> RunConfig:
    from avbench.running.request import resolve

    found = resolve(Request(method="cavmae", task=task, sets=(*SMALL, *sets)))
    return dataclasses.replace(found, weights=weights)  # type: ignore[arg-type]


def planned(corpus: Corpus, task: str, *sets: str, weights: str = "pretrained") -> Plan:
    return make_plan(configured(task, *sets, weights=weights), corpus, Path("nowhere"))


FINE = ("task.batch_size=4",)
BOTH = ("task.measure=both", "task.finetune.batch_size=4")
ONLY = ("task.measure=finetune", "task.finetune.batch_size=4")
EVALUATE = "evaluate"


@pytest.mark.parametrize(
    ("task", "sets", "names"),
    [
        ("retrieval", (), ["pretrain", "vectors"]),
        ("linear_probe", (), ["pretrain", "vectors", "vectors"]),
        ("localization", ("task.centring=none",), ["pretrain", "tokens"]),
        ("localization", ("task.centring=train",), ["pretrain", "tokens", "tokens"]),
        ("reconstruction", (), ["pretrain"]),
        ("classification", (*FINE, "task.modes=[audioonly, videoonly]"), ["pretrain", "finetune", "finetune"]),
        ("shuffled_pairs", (), ["pretrain", "vectors", "vectors"] * 2),
        ("shuffled_pairs", BOTH, ["pretrain", "vectors", "vectors", "finetune"] * 2),
        ("shuffled_pairs", ONLY, ["pretrain", "vectors", "finetune"] * 2),
    ],
)
def test_a_plan_lists_what_the_task_needs_in_order(
    corpus: Corpus, task: str, sets: tuple[str, ...], names: list[str]
) -> None:
    plan = planned(corpus, task, *sets)
    assert [stage.name for stage in plan.stages] == [*names, EVALUATE]
    places = {stage: place for place, stage in enumerate(plan.stages)}
    assert all(places[before] < places[stage] for stage in plan.stages for before in stage.after)


def test_an_untrained_model_is_one_whatever_its_pairs_would_have_been(corpus: Corpus) -> None:
    plan = planned(corpus, "shuffled_pairs", weights="untrained")
    assert [stage.name for stage in plan.stages] == ["vectors", "vectors", EVALUATE]


def test_how_fine_tuned_models_are_judged_is_no_part_of_what_they_are(corpus: Corpus) -> None:
    first, judged, other = (
        planned(corpus, "classification", *FINE, *sets)
        for sets in ((), ("task.frames=middle", "task.resamples=7"), ("task.mixup=0.1",))
    )
    assert first.finetunings == judged.finetunings != other.finetunings
    assert first.evaluation != judged.evaluation


def test_damage_is_of_the_judged_clips_alone_and_any_task_takes_it(corpus: Corpus) -> None:
    for task, sets in (("linear_probe", ()), ("classification", FINE), ("localization", ())):
        clean, damaged = (planned(corpus, task, *sets, *more) for more in ((), ("data.corruption=blur@2",)))
        assert clean.pretrain == damaged.pretrain
        assert clean.finetunings == damaged.finetunings
        assert clean.evaluation != damaged.evaluation
        for one, other in zip(clean.extractions, damaged.extractions, strict=True):
            assert (one == other) == (one.part == "train")
    measured = planned(corpus, "corruption", "task.corruptions=[blur]", "task.severities=[2]")
    assert planned(corpus, "retrieval", "data.corruption=blur@2").extractions[0] in measured.extractions


@pytest.mark.parametrize("found", ["fog@1", "blur", "blur@0", "blur@6", "blur@2.5", "@3"])
def test_an_unknown_damage_is_refused(corpus: Corpus, found: str) -> None:
    with pytest.raises(
        InputError, match=f"data.corruption: found {found}, valid: no_sound, .*KIND@SEVERITY.*blur.*1 to 5"
    ):
        planned(corpus, "retrieval", f"data.corruption={found}")


def test_options_of_the_method_belong_to_a_runs_id_also_where_its_weights_are_given(corpus: Corpus) -> None:
    one, other = (
        planned(corpus, "reconstruction", f"method.norm_pix_loss={value}", weights="untrained")
        for value in ("true", "false")
    )
    assert one.evaluation.id != other.evaluation.id


@pytest.fixture(scope="module")
def done(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Execution]:
    """A run whose stages are done."""
    results = tmp_path_factory.mktemp("results")
    plan, execution = make_plan(configured("retrieval"), corpus, results), Execution(results=results, progress=False)
    stages.make_ready(plan, execution)
    return plan, execution


def test_a_subject_gives_what_was_asked_for_and_says_what_was_not(done: tuple[Plan, Execution]) -> None:
    subject = ReadySubject(*done)
    assert subject.embeddings().ids == list(subject.evaluated.ids)
    assert subject.pooled("evaluated").ids == list(subject.evaluated.ids)
    for ask, named in (
        (lambda: subject.pooled("train"), "'training vectors'"),
        (lambda: subject.tokens("evaluated"), "'tokens'"),
        (subject.method, "'weights'"),
        (subject.training_log, "'training log'"),
        (lambda: subject.classifier("multimodal"), "'finetuned'"),
    ):
        with pytest.raises(InputError, match=rf"task 'retrieval': asks for {named}, valid: .*\(features, vectors\)"):
            ask()  # type: ignore[no-untyped-call]


def test_weights_that_nobody_has_to_read_are_not_made_again(
    done: tuple[Plan, Execution], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, execution = done
    assert plan.pretrain is not None
    plan.pretrain.folder.rename(tmp_path / "kept")
    with monkeypatch.context() as patch:
        patch.setattr(pretraining, "compute", None)
        stages.make_ready(plan, execution)
        assert not plan.pretrain.folder.exists()
        plan.extractions[0].folder.joinpath("done.json").rename(tmp_path / "done.json")
        with pytest.raises(TypeError):  # now somebody has
            stages.make_ready(plan, execution)
    shutil.rmtree(plan.pretrain.folder)
    (tmp_path / "kept").rename(plan.pretrain.folder)
    (tmp_path / "done.json").rename(plan.extractions[0].folder / "done.json")


def test_force_makes_every_stage_again_and_each_once(done: tuple[Plan, Execution]) -> None:
    plan, execution = done
    execution = Execution(results=execution.results, force=True, progress=False)
    before = [stage.folder.joinpath("done.json").stat().st_mtime_ns for stage in plan.stages[:-1]]
    stages.make_ready(plan, execution)
    after = [stage.folder.joinpath("done.json").stat().st_mtime_ns for stage in plan.stages[:-1]]
    assert all(new > old for new, old in zip(after, before, strict=True))
    stages.make_ready(plan, execution)
    assert [stage.folder.joinpath("done.json").stat().st_mtime_ns for stage in plan.stages[:-1]] == after


def test_no_lock_is_held_around_the_work_of_another_stage(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute = pretraining.compute
    locks: list[set[str]] = []

    def watched(stage: object, execution: Execution) -> object:
        locks.append({path.parent.parent.name for path in tmp_path.rglob(".lock")})
        return compute(stage, execution)  # type: ignore[arg-type]

    monkeypatch.setattr(pretraining, "compute", watched)
    runner = Runner(Execution(results=tmp_path, progress=False))
    monkeypatch.setattr(runner, "corpus", lambda _: corpus)
    (outcome,) = runner.run(configured("retrieval"), with_untrained=False)
    assert not outcome.error
    assert locks == [{"pretrain"}]


def test_labels_that_cannot_be_used_are_refused_before_anything_is_computed(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = Runner(Execution(results=tmp_path, progress=False))
    monkeypatch.setattr(runner, "corpus", lambda _: corpus)
    for task, sets in (("linear_probe", ()), ("classification", FINE), ("shuffled_pairs", ())):
        with pytest.raises(InputError, match=r"task.label: found 'name'"):
            runner.run(configured(task, *sets, "task.label=name"), with_untrained=False)
    assert not list(all_records(tmp_path))
    assert not (tmp_path / "stages").exists()


def test_a_card_that_needs_what_there_is_not_is_refused() -> None:
    with pytest.raises(InputError, match=r"unknown need of a task 'vector'\. Did you mean 'vectors'"):
        TaskCard(summary="", needs=("vector",))
