"""The study on the embedded set: every method and task, three seeds; then what the papers claim, beside what was found.

    python benchmarks/study.py [--results DIR] [--clips-seed N] [--seeds 0 1 2] [--only-print]

It runs two grids (what is done is skipped) and prints their records statement by statement as Markdown: each figure is
the mean over seeds, behind it the seeds one by one. A difference is taken seed by seed, from the same clips.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

RECONSTRUCTING = ("vanilla_avmae", "avmae")
CONTRASTING = ("cav", "cavmae", "cavmae_sync")
PAIRED = ("cav", "avmae", "cavmae")


class Records:
    """The newest record of each method, task, weights and seed."""

    def __init__(self, folder: Path, seeds: Sequence[int]) -> None:
        from avbench.store.records import all_records

        self.seeds = tuple(seeds)
        self._found: dict[tuple[str, str, str, str, int], dict[str, Any]] = {}
        for record in sorted(all_records(folder), key=lambda record: str(record["created"])):
            label = record["config"]["task"].get("label") or "all"
            self._found[record["method"], record["task"], record["weights"], label, record["seed"]] = record

    def values(
        self,
        method: str,
        task: str,
        metric: str,
        *,
        weights: str = "pretrained",
        label: str = "",
        field: str = "metrics",
    ) -> list[Any]:
        """Returns a metric, its chance or its interval, one a seed; empty where one is missing."""
        found = [
            record[field].get(metric)
            for seed in self.seeds
            for (m, t, w, of, s), record in self._found.items()
            if (m, t, w, s) == (method, task, weights, seed) and label in ("", of)
        ]
        return found if len(found) == len(self.seeds) and None not in found else []

    def methods(self, task: str) -> list[str]:
        """Returns the methods that have records of a task."""
        return sorted({method for method, t, *_ in self._found if t == task})

    def devices_hours(self) -> float:
        """Returns the time of all records; stages that several share count in each."""
        return sum(record["device_hours"] for record in self._found.values())


def cell(values: Sequence[float], scale: float = 100.0, digits: int = 1) -> str:
    """Returns mean and single values, or a dash."""
    if not values:
        return "–"
    single = " ".join(f"{value * scale:.{digits}f}" for value in values)
    return f"{sum(values) / len(values) * scale:.{digits}f} ({single})"


def minus(first: Sequence[float], second: Sequence[float]) -> list[float]:
    """Returns the differences seed by seed; empty where one is."""
    return [a - b for a, b in zip(first, second, strict=True)] if first and second else []


def verdict(differences: Sequence[float]) -> str:
    """Says in how many seeds a difference is positive."""
    return f"{sum(d > 0 for d in differences)} of {len(differences)} seeds" if differences else "not measured"


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a Markdown table, its first column to the left."""
    lines = [headers, ["---", *["--:"] * (len(headers) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def retrieval(found: Records) -> str:
    """(a) and (e)."""
    rows = []
    for method in found.methods("retrieval"):
        for weights in ("untrained", "pretrained"):
            inside = total = 0
            for metric in ("a2v/R@10", "v2a/R@10"):
                ends = found.values(method, "retrieval", metric, weights=weights, field="ci95")
                chance = found.values(method, "retrieval", metric, weights=weights, field="chance")
                inside += sum(low <= c <= high for (low, high), c in zip(ends, chance, strict=True))
                total += len(ends)
            figures = [
                cell(found.values(method, "retrieval", f"{side}/R@{k}", weights=weights))
                for k in (1, 10)
                for side in ("a2v", "v2a")
            ]
            rows.append([_name(method, weights), *figures, f"{inside} of {total}"])
    headers = ["", "a→v R@1", "v→a R@1", "a→v R@10", "v→a R@10", "R@10 intervals with chance"]
    gain = []
    for k in (1, 10):
        for side, key in (("a→v", "a2v"), ("v→a", "v2a")):
            sync, plain = (found.values(m, "retrieval", f"{key}/R@{k}") for m in ("cavmae_sync", "cavmae"))
            gain.append(f"{side} R@{k}: {cell(minus(sync, plain))}")
    return f"{table(headers, rows)}\n\nCAV-MAE Sync less CAV-MAE: {'; '.join(gain)}."


def shuffled(found: Records) -> str:
    """(b)."""
    parts = []
    for label in ("shape+pitch", "all"):
        rows = []
        for method in found.methods("shuffled_pairs"):
            own = {"label": label}
            untrained = found.values(method, "shuffled_pairs", "true/joint/top1", weights="untrained", **own)
            true, pairs = (
                found.values(method, "shuffled_pairs", f"{w}/joint/top1", **own) for w in ("true", "shuffled")
            )
            rows.append(
                [
                    _name(method),
                    cell(found.values(method, "shuffled_pairs", "shuffled/contrast_loss", **own), 1.0, 3),
                    cell(found.values(method, "shuffled_pairs", "shuffled/a2v/R@10", **own)),
                    cell(found.values(method, "shuffled_pairs", "shuffled/v2a/R@10", **own)),
                    cell(untrained),
                    cell(pairs),
                    cell(true),
                    cell(minus(true, pairs)),
                ]
            )
        headers = ["", "contrast", "a→v R@10", "v→a R@10", "untrained", "shuffled", "true", "true less shuffled"]
        parts.append(f"Label `{label}`, joint probe top-1 in the last four columns:\n\n{table(headers, rows)}")
    return "\n\n".join([*parts, f"ln(64) = {math.log(64):.3f}."])


# Of a model fine-tuned on both modalities, the score of one alone is that with the other missing (paper Table 2g).
STREAMS = {"AV": ("joint",), "A": ("audio", "missing_visual"), "V": ("visual", "missing_audio")}


def accuracy(task: str) -> Callable[[Records], str]:
    """(c) and (d), by the probe or by fine-tuning."""

    def section(found: Records) -> str:
        def top1(method: str, column: str, weights: str = "pretrained") -> list[Any]:
            values = (found.values(method, task, f"{stream}/top1", weights=weights) for stream in STREAMS[column])
            return next((each for each in values if each), [])

        rows = [
            [_name(method, weights), *(cell(top1(method, column, weights)) for column in STREAMS)]
            for method in found.methods(task)
            for weights in ("untrained", "pretrained")
        ]
        notes = []
        cav, avmae, cavmae = (top1(method, "AV") for method in PAIRED)
        if cav and avmae and cavmae:
            gap = minus(cavmae, list(map(max, cav, avmae)))
            of_means = (sum(cavmae) - max(sum(cav), sum(avmae))) / len(cavmae)
            notes.append(
                f"CAV-MAE less the better of CAV and AV-MAE, seed by seed: {cell(gap)} ({verdict(gap)});"
                f" of the means: {100 * of_means:+.1f}."
            )
        for method in found.methods(task):
            both, audio, visual = (top1(method, column) for column in STREAMS)
            if both and audio and visual:
                gap = minus(both, list(map(max, audio, visual)))
                notes.append(f"{method}, AV less the better of A and V: {cell(gap)} ({verdict(gap)}).")
        return f"{table(['top-1', *STREAMS], rows)}\n\n" + "\n".join(f"- {note}" for note in notes)

    return section


def localization(found: Records) -> str:
    """(f)."""
    kinds = ("", "wrong_audio/", "gain/", "mean_mask/", "random/", "centre_disc/")
    rows = []
    for method in found.methods("localization"):
        for weights in ("untrained", "pretrained"):
            values = [cell(found.values(method, "localization", f"{kind}AP", weights=weights)) for kind in kinds]
            ends = found.values(method, "localization", "gain/AP", weights=weights, field="ci95")
            rows.append([_name(method, weights), *values, f"{sum(low > 0 for low, _ in ends)} of {len(ends)}"])
    headers = [
        "AP",
        "right sound",
        "wrong sound",
        "gain",
        "mean mask",
        "random",
        "centre disc",
        "gain's interval above 0",
    ]
    return table(headers, rows)


def reconstruction(found: Records) -> str:
    """Figure 5, for completeness: lower is better."""
    keys = [f"{side}/uniform@{ratio}/mse" for side in ("audio", "visual") for ratio in (0.5, 0.75, 0.9)]
    rows = [
        [
            _name(method, weights),
            *(cell(found.values(method, "reconstruction", key, weights=weights), 1.0, 3) for key in keys),
        ]
        for method in found.methods("reconstruction")
        for weights in ("untrained", "pretrained")
    ]
    return table(["MSE, uniform masks", *(key.replace("/uniform", "").removesuffix("/mse") for key in keys)], rows)


def _name(method: str, weights: str = "pretrained") -> str:
    return method if weights == "pretrained" else f"{method} (untrained)"


SECTIONS: dict[str, Callable[[Records], str]] = {
    "(a), (e) Retrieval, %": retrieval,
    "(b) Shuffled pairs, %": shuffled,
    "(c), (d) Linear probe, %": accuracy("linear_probe"),
    "(c), (d) Fine-tuning, %": accuracy("classification"),
    "(f) Localization, %": localization,
    "Reconstruction": reconstruction,
}


def grids(options: argparse.Namespace) -> Iterator[list[str]]:
    """Yields the commands of the study."""
    shared = ["--seeds", *map(str, options.seeds), "--results", str(options.results)]
    settings = f"data.clips_seed={options.clips_seed}"
    yield ["grid", "--methods", "all", "--tasks", "all", *shared, "--set", settings]
    # What is left of a model of shuffled pairs, by the label with factors of one modality alone, too.
    yield ["grid", "--methods", "all", "--tasks", "shuffled_pairs", *shared, "--set", settings, "task.label=''"]


def main() -> int:
    """Runs and prints the study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("results"))
    parser.add_argument("--clips-seed", type=int, default=2026)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only-print", action="store_true", help="print what the results hold")
    options = parser.parse_args()
    status = 0
    for command in [] if options.only_print else grids(options):
        start = time.monotonic()
        status |= subprocess.run(
            [sys.executable, "-m", "avbench", *command], stdout=subprocess.DEVNULL, check=False
        ).returncode
        sys.stderr.write(f"avbench {' '.join(command)}: {(time.monotonic() - start) / 60:.1f} min\n")
    found = Records(options.results, options.seeds)
    for title, section in SECTIONS.items():
        sys.stdout.write(f"## {title}\n\n{section(found)}\n\n")
    return status


if __name__ == "__main__":
    raise SystemExit(main())
