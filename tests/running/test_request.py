"""From a request to a configuration: the order of the layers, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from avbench import registry
from avbench.errors import InputError
from avbench.recipes import presets
from avbench.running import request
from avbench.running.request import Request, fitted, resolve, task_options
from avbench.training import precision


def test_presets_lie_under_the_file_and_the_file_under_set(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("train: {lr: 1e-3, steps: 7}\nmethod: {lambda_c: 0.5}\n")
    config = resolve(Request(method="cavmae", data=".", presets=("base",), config=file, sets=("train.steps=9",)))
    assert (config.model.embed_dim, config.train.lr, config.train.steps) == (768, 1e-3, 9)
    assert config.to_dict()["method"]["lambda_c"] == 0.5


def test_the_defaults_are_the_papers() -> None:
    config = resolve(Request(method="cavmae", data=".", presets=("base",)))
    assert (config.train.lr, config.train.batch_size, config.train.betas) == (5e-5, 48, (0.95, 0.999))
    assert (config.input.target_length, config.input.audio_mean, config.input.audio_std) == (1024, -5.081, 4.4849)
    method = config.to_dict()["method"]
    assert (method["lambda_c"], method["temperature"], method["norm_pix_loss"]) == (0.01, 0.05, True)


@pytest.mark.parametrize(
    ("changes", "instructions", "expected"),
    [
        ({"presets": ("base",)}, "avx512_bf16", "bf16"),
        ({"presets": ("small",)}, "amx_bf16", "bf16"),
        ({"presets": ("base",)}, "", "fp32"),
        ({"presets": ("base",), "precision": "fp32"}, "avx512_bf16", "fp32"),
        ({"presets": ("starter",)}, "avx512_bf16", "fp32"),
        ({"data": "soundshapes"}, "avx512_bf16", "fp32"),
    ],
)
def test_auto_takes_bf16_on_a_cpu_where_it_is_faster_and_says_so(
    changes: dict[str, object],
    instructions: str,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(precision, "bf16_instructions", lambda: instructions)
    request._say_once.cache_clear()
    words: dict[str, object] = {"method": "cavmae", "data": ".", "precision": "auto", **changes}
    assert resolve(Request(**words)).precision == expected  # type: ignore[arg-type]
    assert (f"this processor has {instructions}" in caplog.text) == (expected == "bf16")


def test_weights_that_are_given_are_evaluated_in_float32(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "bf16_instructions", lambda: "avx512_bf16")
    monkeypatch.setattr(request, "_checkpoint_sizes", lambda *_: {"model": {"embed_dim": 768}})
    words = Request(method="cavmae", data=".", checkpoint=tmp_path / "w.safetensors", precision="auto")
    assert resolve(words).precision == "fp32"


def test_a_leaf_alone_is_enough_where_it_is_unique() -> None:
    config = resolve(Request(method="cavmae", sets=("lambda_c=0.25",)))
    assert config.to_dict()["method"]["lambda_c"] == 0.25


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"method": "cavmea"}, "Did you mean 'cavmae'"),
        ({"task": "retreival"}, "Did you mean 'retrieval'"),
        ({"presets": ("tinny",)}, "Did you mean 'tiny'"),
        ({"sets": ("train.lrr=1",)}, "Did you mean 'lr'"),
        ({"sets": ("trian.lr=1",)}, "Did you mean 'train'"),
        ({"sets": ("lamda_c=1",)}, "lambda_c"),
        ({"sets": ("train.lr",)}, "no '='"),
        ({"sets": ("train.lr=fast",)}, "train.lr: found 'fast'"),
        ({"sets": ("seed=3",)}, "unknown setting 'seed'"),
        ({"config": Path("missing.yaml")}, "no such file"),
        ({"sets": ("train.steps=2001-99-99",)}, "train.steps: found '2001-99-99', valid: a whole number"),
        ({"sets": ("train.steps=!!int x",)}, "--set train.steps: line 1: found the tag !!int, valid: plain values"),
        ({"sets": ("train.steps=!!python/object/apply:os.getcwd []",)}, "--set train.steps: line 1: found the tag"),
        ({"sets": ("train.steps=" + "9" * 5000,)}, "--set train.steps: line 1: found 9999"),
        ({"sets": ("train.steps=.nan",)}, "train.steps: found nan (a number), valid: a whole number"),
        ({"sets": ("train.lr=.inf",)}, "train.lr: found inf (a number), valid: a number"),
        ({"sets": ("train.lr=1e999",)}, "train.lr: found '1e999', valid: a number"),
        ({"sets": ("train.lr=-1e-4",)}, "train.lr: found -0.0001, valid: above 0"),
        ({"sets": ("train.steps=[[[[[[[[1]]]]]]]]",)}, "train.steps: found [[[[[[[[1]]]]]]]] (a list), valid: a whole"),
        ({"sets": ("train.steps=" + "[" * 90_000,)}, "train.steps: found"),
        ({"sets": ("train.betas=[0.9]",)}, "train.betas: found 1 value, valid: 2, each a number"),
        ({"sets": ("train.betas=[0.9, 1.0]",)}, "train.betas: found 1.0, valid: below 1"),
        ({"sets": ("train.betas=[0.9, .nan]",)}, "train.betas: found nan (a number), valid: a number"),
        ({"sets": ("method.lambda_c=null",)}, "method.lambda_c: found null, valid: a number"),
        ({"sets": ("method={1: 2}",)}, "--set method: found a section, valid: a setting of it"),
        ({"sets": ("method.={}",)}, "found 'method.' as the key, valid: section.key"),
        ({"sets": (".lambda_c=1",)}, "found '.lambda_c' as the key, valid: section.key"),
        ({"sets": ("=1",)}, "found '' as the key, valid: section.key"),
        ({"sets": ("input.image_mean=[1, 2]",)}, "input.image_mean: found 2 values, valid: 3, each a number"),
        ({"sets": ("data.labels=",)}, "--set data.labels=: found nothing after '=', valid: a value"),
        ({"sets": ("data.test_fraction=1",)}, "data.test_fraction: found 1.0, valid: below 1"),
        ({"sets": ("data.source={a: 1}",)}, "data.source: found {'a': 1} (a mapping), valid: text"),
        ({"sets": ("data.split=[1]",)}, "data.split: found [1] (a list), valid: one of auto"),
        ({"presets": ("finetune-vggsound-av",)}, "valid: classification, whose settings"),
    ],
)
def test_bad_requests_are_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(InputError) as caught:
        resolve(Request(**{"method": "cavmae", **changes}))  # type: ignore[arg-type]
    assert words in str(caught.value)
    assert len(str(caught.value)) < 4000


def test_a_few_clips_take_a_smaller_batch_where_nobody_asked_for_its_size(caplog: pytest.LogCaptureFixture) -> None:
    starter = resolve(Request(method="cavmae", data="videos"))
    assert fitted(starter, 6).to_dict()["train"]["batch_size"] == 6
    assert "train.batch_size: 6 instead of the starter preset's 8, as videos has 6 training clips" in caplog.text
    assert fitted(starter, 100) is starter
    assert fitted(starter, 1) is starter  # refused later, as there is nothing to contrast
    for asked in (
        Request(method="cavmae", data="videos", sets=("train.batch_size=8",)),
        Request(method="cavmae", data="videos", presets=("base",)),
        Request(method="cavmae", data="videos", presets=("starter", "pretrain-audioset-base")),
    ):
        config = resolve(asked)
        assert fitted(config, 6) is config


def test_what_is_no_yaml_is_text() -> None:
    config = resolve(Request(method="cavmae", sets=("data.labels=a: b: c",)))
    assert config.data.labels == "a: b: c"
    assert resolve(Request(method="cavmae", sets=('data.labels=""',))).data.labels == ""


@pytest.mark.parametrize(
    "text",
    [
        "train: {steps: 5}\ntrain: {lr: 0.1}",
        "train: {steps: 2001-99-99}",
        "train: {betas: !!set {1, 2}}",
        "train: [1]",
        "[]",
        "trian: {}",
        "a: b: c",
    ],
)
def test_bad_files_are_refused_and_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(InputError):
        resolve(Request(method="cavmae", config=file))


@pytest.mark.parametrize("name", presets.names())
def test_every_preset_is_valid_and_has_a_summary(name: str) -> None:
    preset = presets.load(name)
    assert preset["summary"]
    task = next(iter(preset.get("tasks", {})), "retrieval")
    config = resolve(Request(method="cavmae", task=task, data=".", presets=(name,)))
    assert set(preset.get("method", {})) <= set(config.to_dict()["method"])
    for task, values in preset.get("tasks", {}).items():
        options = resolve(Request(method="cavmae", task=task, data=".", presets=(name,))).to_dict()["task"]
        assert values.items() <= options.items()


def test_the_scale_plus_recipe_is_table_4s() -> None:
    config = resolve(Request(method="cavmae", data=".", presets=("pretrain-audioset-scale+",)))
    assert (config.train.batch_size, config.train.lr, config.train.epochs) == (108, 1e-4, 25)
    assert (config.train.decay_start, config.train.decay_every, config.train.decay_rate) == (10, 5, 0.5)


@pytest.mark.parametrize(("probe", "tuned"), [("audioset20k", "audioset20k-av"), ("vggsound", "vggsound-av")])
def test_the_papers_probe_is_its_fine_tuning_with_the_encoder_frozen(probe: str, tuned: str) -> None:
    def options(name: str) -> dict[str, object]:
        config = resolve(Request(method="cavmae", task="classification", data=".", presets=(name,)))
        found: dict[str, object] = config.to_dict()["task"]
        return found

    frozen, whole = options(f"probe-{probe}"), options(f"finetune-{tuned}")
    unlike = {key for key, value in frozen.items() if whole[key] != value}
    assert unlike <= {"freeze", "head", "modes"}
    assert (frozen["freeze"], frozen["head"], whole["freeze"]) == (True, "linear", False)
    assert options(f"probe-{probe}").keys() == options(f"probe-sync-{probe}").keys()


def test_syncs_probe_has_its_own_recipe() -> None:
    config = resolve(
        Request(method="cavmae_sync", task="classification", data=".", presets=("sync", "probe-sync-audioset20k"))
    )
    task = config.to_dict()["task"]
    assert (task["freeze"], task["head"], task["epochs"], task["schedule"]) == (True, "attention", 25, "cosine")
    assert (task["batch_size"], task["lr"], task["head_lr_ratio"], task["loss"]) == (48, 1e-3, 1.0, "bce")
    assert (task["average_from"], task["average_to"], task["label_smoothing"]) == (13, 25, 0.1)
    assert (task["mixup"], task["freq_mask"], task["time_mask"], task["noise"]) == (0.0, 0, 0, False)  # inert there


def test_task_options_alone() -> None:
    assert task_options("retrieval", None, ("task.aggregation=mean",)).aggregation == "mean"  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="cannot change features that are given"):
        task_options("retrieval", None, ("train.lr=1",))


@pytest.mark.parametrize("name", ["audiomae", "visualmae"])
def test_a_task_that_a_method_cannot_do_is_refused_with_the_reason(name: str) -> None:
    with pytest.raises(InputError) as caught:
        resolve(Request(method=name, data="nowhere"))
    assert f"it takes {name.removesuffix('mae')} only, and the task compares audio and visual" in str(caught.value)
    assert "Valid methods: avmae, cav, cavmae, cavmae_sync, vanilla_avmae." in str(caught.value)


@pytest.mark.parametrize("name", ["avmae", "cav", "cavmae", "cavmae_sync", "vanilla_avmae"])
def test_the_embedded_set_gives_sync_its_windows(name: str) -> None:
    config = resolve(Request(method=name))
    assert config.input.segment_length == (32 if name == "cavmae_sync" else 0)
    assert resolve(Request(method=name, sets=("input.segment_length=48",))).input.segment_length == 48


def test_the_sync_preset_is_the_released_models() -> None:
    config = resolve(Request(method="cavmae_sync", data=".", presets=("sync",)))
    assert (config.input.segment_length, config.data.n_frames, config.model.embed_dim) == (416, 16, 768)
    options = config.to_dict()["method"]
    assert (options["registers"], options["global_token"], options["head_depth"]) == (8, True, 0)
    small = resolve(Request(method="cavmae_sync", data=".", presets=("tiny", "sync")))
    assert (small.model.embed_dim, small.input.segment_length) == (96, 416)
    assert resolve(Request(method="cavmae_sync", data=".")).input.segment_length == 416


def test_a_method_section_of_a_preset_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(presets, "read_yaml", lambda _: {"summary": "x", "methods": {"cavmae_sync": {"inputs": {}}}})
    with pytest.raises(InputError, match=r"preset tiny: unknown section 'inputs' of cavmae_sync"):
        presets.load("tiny")


@pytest.mark.parametrize("name", presets.names())
def test_every_preset_is_valid_for_its_methods(name: str) -> None:
    preset = presets.load(name)
    for method, given_sections in preset.get("methods", {}).items():
        sections = dict(given_sections)
        tasks = registry.tasks_of(registry.find("method", method))
        of_task = {task: resolve(Request(method=method, task=task, data=".", presets=(name,))) for task in tasks}
        for key, value in sections.pop("task", {}).items():  # for those of the tasks that have it
            found = [given for each in of_task.values() if (given := each.to_dict()["task"].get(key)) is not None]
            assert found
            assert set(map(repr, found)) == {repr(value)}
        config = of_task["retrieval"] if "retrieval" in of_task else next(iter(of_task.values()))
        for section, values in sections.items():
            assert values.items() <= config.to_dict()[section].items()
