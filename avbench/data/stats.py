"""What a set of clips is like: mean and standard deviation of its spectrograms, durations, label counts, plots."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from avbench.config import HAS, InputConfig
from avbench.data.corpus.clips import Clips, modalities_of
from avbench.data.feed.decoding import Files
from avbench.data.progress import Progress
from avbench.errors import RunError
from avbench.files import atomic_path

_QUANTILES = {"min": 0.0, "p25": 0.25, "median": 0.5, "p75": 0.75, "max": 1.0}
_BINS = np.linspace(-16.0, 10.0, 105)  # natural logarithm; the floor is at -15.94
_TOP_LABELS = 20
_UNHEARD: dict[str, Any] = {"fbank": None, "unreadable": []}


def data_stats(
    clips: Clips, config: InputConfig, *, max_clips: int = 0, workers: int = 1, progress: bool = True
) -> dict[str, Any]:
    """Measures a set of clips.

    Args:
        clips: The clips.
        config: Sizes of the spectrogram. Its ``audio_mean`` and ``audio_std`` are not used: they are what comes out.
        max_clips: Listen to so many clips, evenly spread over the set; 0: all.
        workers: Threads.
        progress: Show progress on standard error.

    Returns:
        JSON values: ``clips``, ``frames`` and ``duration_s`` (count to quantile), ``labels`` (name to number of clips,
        commonest first), ``splits``, ``fbank`` (mean, std, rows, clips, per-bin mean, histogram) over the rows that
        hold sound: padding is left out; clips cut at ``target_length`` rows; ``unreadable`` (messages); ``modalities``.
        Of pictures alone ``fbank`` is None.
    """
    n = len(clips)
    listened = np.arange(n) if not max_clips or max_clips >= n else np.linspace(0, n - 1, max_clips).astype(np.int64)
    offsets, codes = clips.label_codes()
    clip = np.repeat(np.arange(n), np.diff(offsets))
    once = np.unique(clip * max(1, len(clips.class_names)) + codes) % max(1, len(clips.class_names))
    counts = dict(zip(clips.class_names, np.bincount(once, minlength=len(clips.class_names)).tolist(), strict=True))
    return {
        "clips": n,
        "frames": _quantiles(clips.n_frames(i) for i in range(n)),
        "duration_s": _quantiles(clips.duration(i) for i in range(n)),
        "labels": dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))),
        "splits": dict(sorted(Counter(clips.splits).items())),
        "modalities": list(has := modalities_of(clips)),
        **(_listen(clips, config, listened.tolist(), workers, progress) if "audio" in has else _UNHEARD),
    }


def _quantiles(values: Iterator[float]) -> dict[str, float]:
    known = np.array([value for value in values if not math.isnan(value)])
    if len(known) == 0:
        return {}
    return {name: round(float(np.quantile(known, q)), 3) for name, q in _QUANTILES.items()}


def _listen(clips: Clips, config: InputConfig, chosen: list[int], workers: int, progress: bool) -> dict[str, Any]:
    source = Files(clips, config)
    rows, total, squares = 0, torch.zeros(config.n_mels, dtype=torch.float64), 0.0
    histogram = np.zeros(len(_BINS) - 1, dtype=np.int64)
    unreadable: list[str] = []

    def measure(i: int) -> tuple[int, torch.Tensor, float, Any] | str:
        try:
            mel = source.rows(i).double()  # (rows, M)
        except RunError as error:
            return str(error)
        counts, _ = np.histogram(mel.clamp(_BINS[0], _BINS[-1]).numpy(), _BINS)
        return len(mel), mel.sum(dim=0), float(mel.square().sum()), counts

    # Threads suffice: decoding and the filter bank release the interpreter.
    with (
        ThreadPoolExecutor(max(1, workers)) as pool,
        Progress("stats", len(chosen), unit="clip", enabled=progress) as bar,
    ):
        for found in pool.map(measure, chosen):
            bar.step()
            if isinstance(found, str):
                unreadable.append(found)
                continue
            rows, total, squares = rows + found[0], total + found[1], squares + found[2]
            histogram += found[3]
    cells = max(1, rows * config.n_mels)
    mean = float(total.sum()) / cells
    fbank = {
        "mean": round(mean, 6),
        "std": round(math.sqrt(max(0.0, squares / cells - mean**2)), 6),
        "rows": rows,
        "clips": len(chosen) - len(unreadable),
        "bin_mean": [round(value, 4) for value in (total / max(1, rows)).tolist()],
        "histogram": {"edges": _BINS.tolist(), "counts": histogram.tolist()},
    }
    return {"fbank": fbank, "unreadable": unreadable}


def stats_text(stats: dict[str, Any]) -> str:
    """Returns what :func:`data_stats` found on a page: the commonest labels alone, and no histogram."""
    fbank, labels = stats["fbank"], stats["labels"]
    splits = ", ".join(f"{count:,} {split or 'without a split'}" for split, count in stats["splits"].items())
    lines = [f"clips      {stats['clips']:,} ({splits})"]
    for name, key, unit in (("duration", "duration_s", " s"), ("frames", "frames", "")):
        found = ", ".join(f"{quantile} {value:g}{unit}" for quantile, value in stats[key].items())
        lines.append(f"{name:<10} {found or 'not known'}")
    lines.append(f"modality   {HAS[tuple(stats['modalities'])]}")
    if fbank is not None:
        lines.append(
            f"log-mel    mean {fbank['mean']:.4f}, standard deviation {fbank['std']:.4f}, over {fbank['rows']:,} rows"
        )
        lines.append(f"           --set input.audio_mean={fbank['mean']:.4f} input.audio_std={fbank['std']:.4f}")
    lines.append(f"labels     {len(labels):,}")
    width = max((len(name) for name in list(labels)[:_TOP_LABELS]), default=0)
    lines += [f"           {name:<{width}}  {count:>7,}" for name, count in list(labels.items())[:_TOP_LABELS]]
    if len(labels) > _TOP_LABELS:
        lines.append(f"           and {len(labels) - _TOP_LABELS:,} more; --format json has all")
    if stats["unreadable"]:
        lines.append(f"unreadable {len(stats['unreadable']):,}, such as {stats['unreadable'][0]}")
    return "\n".join(lines)


def plot_stats(stats: dict[str, Any], path: Path) -> Path:
    """Draws what :func:`data_stats` found, as PNG: spectrogram values, mean per mel bin, labels, durations.

    Args:
        stats: From :func:`data_stats`.
        path: The file to write.

    Returns:
        ``path``.
    """
    import matplotlib as mpl
    import seaborn as sns
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context({**sns.axes_style("whitegrid"), "font.size": 9, "text.parse_math": False}):
        figure = Figure(figsize=(11, 8), layout="constrained")
        FigureCanvasAgg(figure)
        values, bins, labels, spread = figure.subplots(2, 2).flat
        fbank = stats["fbank"]
        if fbank is None:
            values.set(title="pictures alone")
        else:
            edges = fbank["histogram"]["edges"]
            values.stairs(fbank["histogram"]["counts"], edges, fill=True, alpha=0.6)
            values.axvline(fbank["mean"], color="black", linewidth=1)
            values.set(title=f"log-mel cells: mean {fbank['mean']:.4f}, std {fbank['std']:.4f}", xlabel="ln(energy)")
            bins.plot(fbank["bin_mean"])
            bins.set(title=f"mean per mel bin, {fbank['clips']} clips", xlabel="mel bin", ylabel="ln(energy)")
        top = list(stats["labels"].items())[:_TOP_LABELS]
        sns.barplot(x=[count for _, count in top], y=[name for name, _ in top], ax=labels, color="C0", orient="h")
        labels.set(title=f"clips per label ({len(stats['labels'])} labels)", xlabel="clips", ylabel="")
        quantiles = [(name, stats[name]) for name in ("duration_s", "frames") if stats[name]]
        for position, (_, found) in enumerate(quantiles):
            box = {"med": found["median"], "q1": found["p25"], "q3": found["p75"], "whislo": found["min"]}
            spread.bxp([{**box, "whishi": found["max"]}], positions=[position], showfliers=False, widths=0.5)
        spread.set_xticks(range(len(quantiles)), [name for name, _ in quantiles])
        spread.set(title=f"duration (s) and frames of {stats['clips']} clips")
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format="png", dpi=120)
    return path
