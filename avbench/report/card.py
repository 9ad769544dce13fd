"""The model card of a run's weights: what they are, what they reached, and how anybody judges them again."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from avbench.metrics.units import unit
from avbench.report.tables.formats.markdown import escape
from avbench.version import __version__

WEIGHTS = "model.safetensors"  # what the weights are called beside their card


def card(record: Mapping[str, Any], repository: str) -> str:
    """Returns the card of a run's weights as Markdown, with the head that the hub reads.

    Args:
        record: The run.
        repository: Where it goes, OWNER/NAME.
    """
    return "\n".join(_lines(record, repository)) + "\n"


def _lines(record: Mapping[str, Any], repository: str) -> Iterator[str]:
    task, config = record["task"], record["config"]
    tags = (f"- {json.dumps(tag)}" for tag in ("audio-visual", record["method"], task))
    yield from ("---", "library_name: avbench", "tags:", *tags, "---")
    yield from ("", f"# {escape(repository.rpartition('/')[2])}", "")
    judged = f"{record['data']} (split {record['split']}, n = {record['n']} clips)"
    yield escape(f"{record['method']}, judged by {task} on {judged}.")
    yield from ("", "| metric | value | 95 % interval over clips | chance |", "| --- | --- | --- | --- |")
    for name, value in record["metrics"].items():
        yield f"| {escape(name)} | {_shown(name, task, value)} | {_interval(record, name)} | {_chance(record, name)} |"
    trained = {key: config.get("train", {}).get(key) for key in ("steps", "epochs", "batch_size", "lr")}
    facts = {
        "run": record["id"],
        "seed": record["seed"],
        "precision": record["precision"],
        "presets": ", ".join(config.get("presets") or ()) or "none",
        "training": ", ".join(f"{key} {value}" for key, value in trained.items() if value),
        "hash of the judged clips' ids": record["ids_sha256"],
        "judged clips seen in training": record["trained_on"]["shared"] if record["trained_on"]["known"] else "unknown",
        "avbench": record["versions"].get("avbench", __version__),
        "torch": record["versions"].get("torch", ""),
    }
    yield from ("", "| | |", "| --- | --- |", *(f"| {name} | {escape(str(value))} |" for name, value in facts.items()))
    yield from ("", "Judge it again; all settings are in `record.json`:", "", "```sh")
    words = ("--method", record["method"], "--checkpoint", f"hf:{repository}/{WEIGHTS}", "--task", task)
    yield shlex.join(("avbench", "evaluate", *words))
    yield "```"


def _shown(name: str, task: str, value: float) -> str:
    found = unit(name, task)
    return f"{value * found.factor:.{found.digits}f}{' ' + found.symbol if found.symbol else ''}"


def _interval(record: Mapping[str, Any], name: str) -> str:
    ends = record["ci95"].get(name)
    return "" if ends is None else " to ".join(_shown(name, record["task"], end) for end in ends)


def _chance(record: Mapping[str, Any], name: str) -> str:
    return _shown(name, record["task"], record["chance"][name]) if name in record["chance"] else ""
