"""Options that several commands share."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

import tyro

from avbench import registry
from avbench.config import Precision
from avbench.errors import InputError
from avbench.files.paths import check_folder, check_is_file, expanded
from avbench.recipes import recipe as recipes
from avbench.running.asked import Request
from avbench.store.seal import check_file

Words = Annotated[tuple[tuple[str, ...], ...], tyro.conf.UseAppendAction]


@dataclass(frozen=True, kw_only=True)
class ConfigOptions:
    """What decides the numbers."""

    data: str | None = None
    """soundshapes, a folder of videos, a CSV, a prepared folder or a manifest.json."""
    eval_data: str | None = None
    """Evaluate on this second source, given like --data; then --data only trains (its training split, or all of it)."""
    checkpoint: Path | None = None
    """Weights to evaluate: ours (.safetensors) or the authors' (.pth), or of the hub hf:OWNER/REPO/FILE@REVISION;
    without it, pretrain."""
    init: str = ""
    """Weights to pretrain from: a file, a name (avbench list weights), timm:NAME, or the id of a run or pretraining
    in the results; none: random, also where a preset names weights."""
    recipe: str = ""
    """How the weights are obtained: method, data, initial weights and settings; see: avbench list recipes."""
    preset: tuple[str, ...] = ()
    """Named configurations, later over earlier, over the recipe's; see: avbench list presets."""
    config: Path | None = None
    """A YAML file of sections data, input, model, method, train, task."""
    set: Words = ()
    """Single settings, which override everything else: method.lambda_c=0.1 train.steps=200."""
    precision: Literal["auto", "fp32", "tf32", "bf16", "fp16"] = "auto"
    """Arithmetic; auto: bf16 (or fp16) on a GPU; on a CPU fp32, or bf16 to pretrain wide models if that is faster."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto: the GPU if there is one."""
    results: Path = Path("results")
    """Where records and weights go."""

    def arguments(self) -> list[str]:
        """Returns the options that differ from their defaults as a user would type them."""
        words: list[str] = []
        for option in fields(ConfigOptions):
            value = getattr(self, option.name)
            if value != option.default:
                values = [text for group in value for text in group] if option.name == "set" else [value]
                values = list(value) if option.name == "preset" else values
                words += [f"--{option.name.replace('_', '-')}", *map(str, values)]
        return words

    def settled_precision(self) -> Precision | Literal["auto"]:
        """Returns what ``--precision`` means where the work is done: here; auto, where that depends on the model, too.

        Raises:
            InputError: The device cannot do it.
        """
        from avbench.training.device import resolve_device
        from avbench.training.precision import resolve_precision

        device = resolve_device(self.device)
        precision = resolve_precision(self.precision, device)
        return "auto" if device == "cpu" and self.precision == "auto" else precision

    @property
    def unnamed_precision(self) -> bool:
        """Whether nobody named a precision: then an encoder computes as it is written."""
        return self.precision == "auto"

    def methods_of(self, given: tuple[str, ...]) -> tuple[str, ...]:
        """Returns the methods of ``--method``, or the recipe's where none is given.

        Raises:
            InputError: Neither says one, or the recipe is another method's.
        """
        if not self.recipe:
            if not given:
                raise InputError(
                    "--method: found nothing, valid: one or more values, --encoder FILE.py:Class or --recipe NAME."
                )
            return given
        for method in given:
            recipes.find(self.recipe, method)
        return given or (recipes.load(self.recipe).method,)

    def requests(self, methods: tuple[str, ...], tasks: tuple[str, ...], seeds: tuple[int, ...]) -> list[Request]:
        """Returns one request for each method, task and seed.

        Args:
            methods: Of ``--method``.
            tasks: Of ``--task``.
            seeds: Of ``--seeds``.

        Raises:
            InputError: A list is empty, or a file that is named is not there.
        """
        methods = self.methods_of(methods)
        for option, values in (("--task", tasks), ("--seeds", seeds)):
            if not values:
                raise InputError(f"{option}: found nothing, valid: one or more values.")
        for seed in seeds:
            if seed < 0:
                raise InputError(f"--seeds: found {seed}, valid: at least 0.")
        checkpoint = None if self.checkpoint is None else _here(self.checkpoint)
        check_folder("--results", self.results)
        precision = self.settled_precision()
        sets = tuple(text for group in self.set for text in group)
        if self.init:
            if self.checkpoint is not None:
                raise InputError("--init: nothing is pretrained where --checkpoint is given; leave one of them out.")
            sets = (f"train.init={json.dumps(_start(self.init, self.results))}", *sets)
        return [
            Request(
                method=method,
                task=task,
                data=self.data,
                eval_data=self.eval_data,
                checkpoint=checkpoint,
                recipe=self.recipe,
                presets=self.preset,
                config=self.config,
                sets=sets,
                seed=seed,
                precision="fp32" if self.unnamed_precision and registry.is_encoder("method", method) else precision,
            )
            for method in dict.fromkeys(methods)
            for task in dict.fromkeys(tasks)
            for seed in dict.fromkeys(seeds)
        ]


def _here(checkpoint: Path) -> Path:
    """Returns the weights as a file, checked where they are what a stage left.

    Raises:
        InputError: There is no such file.
    """
    if str(checkpoint).startswith("hf:"):
        from avbench.training.hub import fetched

        checkpoint = fetched(checkpoint)
    check_is_file(checkpoint, "--checkpoint", "the path of a .pth or .safetensors file")
    check_file(checkpoint)
    return checkpoint


def _start(name: str, results: Path) -> str:
    """Returns what ``--init`` names: as it is, or the weights of a run or pretraining in the results.

    Raises:
        InputError: It is neither.
    """
    from avbench.recipes import initial_weights
    from avbench.store.records import read_record, stage_folder
    from avbench.training.session import WEIGHTS

    if name == "none":
        return ""
    if name in initial_weights.known() or name.startswith("timm:"):
        return name
    if expanded(name).exists():
        check_file(expanded(name))
        return name
    stage = name
    if "/" not in name and (record := read_record(results, name)) is not None:
        stage = next(iter(record["stages"].get("pretrain", [])), "")
    weights = stage_folder(results, "pretrain", stage) / WEIGHTS
    if not stage or not weights.is_file():
        raise InputError(
            f"--init {name}: no such file, nor the id of a run or pretraining with weights in {results}; valid: a file,"
            f" {', '.join(initial_weights.known())}, timm:NAME, an id (see avbench list runs), none."
        )
    check_file(weights)
    return str(weights)


def encoder_named(name: str) -> str:
    """Returns the name that ``--encoder`` was given, whose code is there.

    Raises:
        InputError: It is a method, or is not there.
    """
    if name in registry.entries("method"):
        raise InputError(f"--encoder {name}: found a method, valid: --method {name}.")
    registry.encoder(name)
    return name
