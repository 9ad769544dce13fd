"""Sweep files: what is read from them, what is refused and how, and the commands that trials stand for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from sweep_fakes import LAMBDA, sweep_of

from avbench.errors import InputError
from avbench.launch.sweep.config import find, names
from avbench.launch.sweep.file import Changes, read_sweep
from avbench.launch.sweep.space import read_parameter
from avbench.launch.sweep.trial import commands, wanted_of
from avbench.running.options import ConfigOptions
from avbench.running.request import resolve


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"objectivs": {}}, r"s\.yaml: unknown key 'objectivs'\. Did you mean 'objectives'\? Valid: summary, "),
        ({"space": {}}, "space: found nothing"),
        ({"space": {"methods.lambda_c": [1]}}, r"space\.methods\.lambda_c: unknown key .* Did you mean 'method'\?"),
        ({"space": {"lambda": [1]}}, "names of one's own have choices"),
        ({"space": {LAMBDA: []}}, "found .*, valid: a list of values"),
        ({"space": {LAMBDA: [1, 1]}}, "found a value twice"),
        ({"space": {LAMBDA: [True, 1]}, "trials": -1}, "trials: found -1, valid: at least 0"),
        ({"space": {LAMBDA: {"values": [0, 1], "log": True}}}, "numbers above 0"),
        ({"space": {LAMBDA: {"valeus": [1]}}}, "Did you mean 'values'"),
        ({"space": {LAMBDA: {"values": [1], "lgo": True}}}, "unknown key 'lgo'. Did you mean 'log'"),
        ({"space": {LAMBDA: {"float": [1, 0]}}}, "low below high"),
        ({"space": {LAMBDA: {"float": [0, 1]}}}, "space.method.lambda_c: found a range, valid: a list"),
        ({"space": {LAMBDA: {"int": [0.5, 2]}}}, "two whole numbers"),
        ({"space": {"w": {"choices": {"a": {"int": "none"}}}}}, "Did you mean 'init'"),
        ({"space": {"w": {"choices": {"a": {"recipe": {"sett": {}}}}}}}, r"a\.recipe: unknown key 'sett'"),
        ({"recipe": "cavmae/bas"}, "recipe: unknown recipe 'cavmae/bas'. Did you mean 'cavmae/base'"),
        ({"pretrain": []}, "unknown key 'pretrain'"),
        ({"space": {"w": {"choices": {"a": {"weights": "none"}}}}}, "w.a.weights: found none, valid: untrained"),
        ({"space": {"method": ["cav"]}}, "found it here and in space"),
        ({"objectives": {"retrieval a2v/R@1": "maximise"}}, "Did you mean 'maximize'"),
        ({"objectives": {"retreival a2v/R@1": "maximize"}}, "Did you mean 'retrieval'"),
        ({"objectives": {}}, "objectives: found nothing"),
        ({"sampler": "gird"}, "sampler.name: found 'gird', valid: one of grid, random, tpe. Did you mean 'grid'"),
        ({"sampler": {"name": "tpe"}}, "trials: found none"),
        ({"pruner": {"name": "median", "warmpu": 1}}, "unknown key 'pruner.warmpu'. Did you mean 'warmup'"),
        (
            {"pruner": "median", "objectives": {f"retrieval {side}/R@1": "maximize" for side in ("a2v", "v2a")}},
            "pruner: found median with 2 objectives, valid: none, or one objective",
        ),
        ({"pruner": {"name": "median", "stage": "classification"}}, "no trial is fine-tuned"),
        ({"pruner": "median"}, "found median on the column loss, which method.lambda_c changes"),
        ({"pruner": {"name": "halving", "column": "tuning_loss"}}, "column tuning_loss, which method.lambda_c changes"),
        (
            {"pruner": {"name": "median", "column": "contrast"}, "space": {"method.masking_ratio": [0.5, 0.75]}},
            "column contrast, which method.masking_ratio changes",
        ),
        ({"pruner": "median", "space": {"train.batch_size": [8, 16]}}, "loss, which train.batch_size changes"),
        ({"pruner": "median", "space": {"w": {"choices": {"a": {"data": "x"}}}}}, "loss, which data changes"),
        ({"objectives": {"retrieval a2v/R1": "maximize"}}, r"metric 'a2v/R1' of retrieval. Did you mean 'a2v/R@1'"),
        ({"objectives": {"retrieval av2/R@1": "maximize"}}, "metric 'av2/R@1' of retrieval. Did you mean"),
        (
            {"task": ["classification"], "objectives": {"classification joint/mAp": "maximize"}},
            "metric 'joint/mAp' of classification. Did you mean 'joint/mAP'",
        ),
        (
            {"task": ["linear_probe"], "objectives": {"linear_probe jiont/mAP": "maximize"}},
            "metric 'jiont/mAP' of linear_probe. Did you mean 'joint/mAP'",
        ),
        (
            {"task": ["knn"], "objectives": {"knn joint/R@1": "maximize"}},
            "'joint/R@1' of knn.* Valid: audio/top1",
        ),
        ({"pruner": "median", "space": {"train.noise": [True, False]}}, "loss, which train.noise changes"),
        (
            {
                "task": ["classification"],
                "objectives": {"classification missing_visual/mAP": "maximize"},
                "pruner": {"name": "median", "stage": "classification"},
                "space": {"task.freq_mask": [0, 48]},
            },
            "loss, which task.freq_mask changes",
        ),
        ({"seeds": []}, "seeds: found nothing"),
        ({"seeds": [-1]}, "seeds: found -1"),
        ({"set": {"train": {"steps": 1}}}, "set: unknown key 'train'"),
        ({"set": {"method": "cav"}}, "'method' is a key next to 'set'"),
        ({"on_data": {"soundshapes": {"spaec": {}}}}, "on_data.soundshapes: unknown key 'spaec'. Did you mean 'space'"),
        ({"evaluate": [{"task": []}]}, r"evaluate\[0\]\.task: found nothing"),
        ({"task": 5}, r"task: found 5 \(a whole number\), valid: a list of text"),
        ({"preset": [5]}, r"preset: found 5 \(a whole number\), valid: text"),
        ({"set": ["train.steps"]}, "set: found .* valid: a mapping"),
        ({"seeds": 1}, "seeds: found 1 .* valid: a list of a whole number"),
        ({"evaluate": [{"task": ["retrieval"], "sett": {}}]}, r"unknown key 'evaluate\[0\]\.sett'"),
        ({"evaluate": [{"task": ["retrieval"], "set": {"init": "a"}}]}, r"evaluate\[0\]\.set: found 'init'"),
        (
            {"space": {"w": {"choices": {"a": {"init": 5}}}}},
            r"space\.w\.a\.init: found 5 \(a whole number\), valid: text",
        ),
        ({"task": []}, "found neither 'task' nor 'evaluate'"),
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path: Path, values: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told) as error:
        sweep_of(tmp_path, **values)
    assert str(tmp_path / "s.yaml") in str(error.value)
    assert "\n" not in str(error.value)


def test_a_section_for_the_data_changes_settings_one_by_one(tmp_path: Path) -> None:
    values = {
        "set": {"train.steps": 1, "train.lr": 0.1},
        "space": {LAMBDA: [1], "method.masking_ratio": [0.5]},
        "on_data": {"vggsound": {"set": {"train.steps": 2, "train.lr": None}, "space": {LAMBDA: [3]}, "seeds": [5]}},
    }
    assert sweep_of(tmp_path, **values).set == {"train.steps": 1, "train.lr": 0.1}
    sweep = sweep_of(tmp_path, Changes(data="vggsound"), **values)
    assert (sweep.name, sweep.data, sweep.seeds) == ("s-vggsound", "vggsound", (5,))
    assert sweep.set == {"train.steps": 2}
    assert sweep.grid() == [{LAMBDA: 3, "method.masking_ratio": 0.5}]


def test_the_command_line_goes_over_the_file(tmp_path: Path) -> None:
    changes = Changes(name="n", sets=("train.steps=7",), seeds=(4,), trials=2, parallel=3, preset=("tiny",))
    sweep = sweep_of(tmp_path, changes, set={"train.steps": 1})
    assert (sweep.name, sweep.seeds, sweep.parallel, len(sweep.grid())) == ("n", (4,), 3, 2)
    (line,) = commands(sweep, sweep.grid()[0], ConfigOptions())
    assert line == (
        "avbench run --method cavmae --task retrieval --seeds 4 --data soundshapes --preset tiny"
        " --set train.steps=7 method.lambda_c=0.01 --skip-untrained"
    )
    with pytest.raises(InputError, match="varies it"):
        sweep_of(tmp_path, Changes(sets=(f"{LAMBDA}=1",)))
    with pytest.raises(InputError, match=r"valid: section\.key=value"):
        sweep_of(tmp_path, Changes(sets=("steps",)))


def test_weights_of_a_pretraining_are_judged_or_gone_on_with(tmp_path: Path) -> None:
    values = {
        "space": {
            "w": {
                "choices": {
                    "judged": {
                        "recipe": {
                            "init": {"data": "audioset-2m", "set": {"train.lr": 1}},
                            "set": {"train.epochs": 2},
                        }
                    },
                    "gone on": {"recipe": {"method": "avmae"}, "init": "pretrain", "run": {"train.epochs": 0}},
                    "none": {},
                }
            }
        },
        "set": {"task.resamples": 10},
        "evaluate": [{"task": ["retrieval"], "set": {"data.subset": "retrieval"}}],
    }
    sweep = sweep_of(tmp_path, **values)
    judged, gone_on, none = (commands(sweep, params, ConfigOptions()) for params in sweep.grid())
    run = 'avbench run --method cavmae --task retrieval --seeds 0 --data soundshapes --checkpoint "$W2" --set'
    assert [line.split(" | ")[0] for line in judged] == [
        "W1=$(avbench pretrain --method cavmae --seeds 0 --data audioset-2m --set train.lr=1",
        'W2=$(avbench pretrain --method cavmae --seeds 0 --data soundshapes --init "$W1" --set train.epochs=2',
        f"{run} task.resamples=10 train.epochs=2 data.subset=retrieval",
    ]
    assert gone_on[-1].endswith(
        '--init "$W1" --set task.resamples=10 data.subset=retrieval train.epochs=0 --skip-untrained'
    )
    assert len(none) == 1
    assert "--init" not in none[0]
    values["init"] = "pretrain"
    sweep = sweep_of(tmp_path, **values)
    with pytest.raises(InputError, match="init: found pretrain"):
        commands(sweep, {"w": "none"}, ConfigOptions())


def test_a_recipe_is_named_once_and_says_the_method(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "summary: epochs\nrecipe: cavmae/scale+\ntask: [retrieval]\nspace: {train.epochs: [1]}\n"
        "objectives: {retrieval a2v/R@1: maximize}\n"
    )
    sweep = read_sweep(path, Changes())
    first, second = commands(sweep, sweep.grid()[0], ConfigOptions())
    rest = "--recipe cavmae/scale+ --set train.epochs=1"
    assert first.startswith(f"W1=$(avbench pretrain --method cavmae --seeds 0 --data audioset-2m {rest} | ")
    run = "avbench run --method cavmae --task retrieval --seeds 0 --data soundshapes"
    assert second == f'{run} --checkpoint "$W1" {rest}'


@pytest.mark.parametrize("name", names())
def test_every_sweep_that_comes_along_resolves_on_each_of_its_data(name: str) -> None:
    path = find(name)
    for data in yaml.safe_load(path.read_text()).get("on_data", ["soundshapes"]):
        sweep = read_sweep(path, Changes(data=data))
        point = sweep.grid()[-1]
        for step in wanted_of(sweep, point, (0,), ConfigOptions()):
            for request in step.requests():
                resolve(request)
        papers = data != "soundshapes"
        assert not papers or sweep.recipe or any("recipe" in sweep.options(each) for each in sweep.grid())


@pytest.mark.parametrize(
    ("value", "grid"),
    [
        ({"int": [1, 7], "step": 3}, (1, 4, 7)),
        ({"int": [1, 3]}, (1, 2, 3)),
        ({"float": [0, 0.3], "step": 0.1}, (0, 0.1, 0.2, 0.3)),
        ([None, "a", 2.5, False], (None, "a", 2.5, False)),
    ],
)
def test_values_of_a_parameter(value: Any, grid: tuple[Any, ...]) -> None:
    parameter = read_parameter(LAMBDA, value, "here")
    found = parameter.grid()
    assert found == tuple(v if not isinstance(v, float) else pytest.approx(v) for v in grid)
    assert parameter.whole == all(isinstance(v, int) for v in found)
    assert all(parameter.distribution()._contains(parameter.distribution().to_internal_repr(v)) for v in found)


def test_sweeps_that_come_along_are_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find("lambda_c") == find("sweeps/lambda_c.yaml") == find("lambda_c.yaml")
    own = tmp_path / "lambda_c.yaml"
    own.write_text("{}")
    assert find("lambda_c.yaml") == Path("lambda_c.yaml")
    with pytest.raises(InputError, match="Did you mean 'lambda_c'"):
        find("lamda_c")
    with pytest.raises(InputError, match="no such file"):
        find("elsewhere/lambda_c.yaml")


def test_an_installed_package_has_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import sysconfig

    from avbench.launch.sweep import config

    installed = tmp_path / "share" / "avbench" / "sweeps"
    installed.mkdir(parents=True)
    (installed / "x.yaml").write_text(yaml.safe_dump({}))
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.setattr(
        config, "__file__", str(tmp_path / "site-packages" / "avbench" / "launch" / "sweep" / "config.py")
    )
    assert names() == ["x"]
    assert find("x") == installed / "x.yaml"


@pytest.mark.parametrize(
    "change",
    [
        {"pruner": "median", "space": {"train.lr": [0.1, 0.2]}},
        {"pruner": {"name": "median", "column": "contrast"}},
        {"pruner": "median", "space": {"w": {"choices": {"a": {"train.steps": 5}, "b": {"train.steps": 9}}}}},
    ],
)
def test_a_pruner_on_a_loss_that_means_the_same_in_every_trial_is_taken(tmp_path: Path, change: dict[str, Any]) -> None:
    assert sweep_of(tmp_path, **change).pruner.name == "median"
