"""What a figure is: a card, and a function that draws it from the records of one data set."""

from __future__ import annotations

import functools
import logging
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from avbench import registry
from avbench.compare.configuration import Group, facts, group
from avbench.report.records import Records
from avbench.store.records import read_record
from avbench.store.rows import Config, Row

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Canvas


@dataclass(frozen=True, kw_only=True)
class FigureCard:
    """Literal facts of a figure file, read without importing it.

    Attributes:
        title: What it shows, a few words.
        source: The paper's figure, or none.
        order: Where it comes in lists.
    """

    title: str
    source: str = ""
    order: int = 100


class NothingToDraw(Exception):
    """There are no records to draw from; the message says which are needed and the command that makes them."""


@dataclass(frozen=True)
class Drawing:
    """A figure as drawn.

    Attributes:
        canvas: The picture.
        table: The values in it, one row a mark.
        caption: What it shows, one or two sentences, with the data and the seeds.
        alt: What is to be seen, in words, for those who do not see it.
        part: What it is called beside others of the same figure.
        dpi: Of the picture.
        photographs: Whether it holds pictures of clips: as PNG it then gets a palette, a quarter of the size.
    """

    canvas: Canvas
    table: pd.DataFrame
    caption: str
    alt: str
    part: str = ""
    dpi: int = 150
    photographs: bool = False


@dataclass(frozen=True)
class Context:
    """The records of one data set.

    Attributes:
        results: The results folder.
        archive: All its records.
        data: The data set's name.
    """

    results: Path
    archive: Records
    data: str

    @property
    def named(self) -> str:
        """The data set's name as a word of a command line that is printed to be pasted."""
        return shlex.quote(self.data)

    def rows(self, task: str, *, weights: Sequence[str] = ("pretrained", "checkpoint", "untrained")) -> list[Row]:
        """Returns the records of a task on the data, those of each method together."""
        return [
            row
            for row in sorted(self.archive.rows, key=lambda row: (order(row.method), row.seed))
            if row.task == task and row.data == self.data and row.weights in weights
        ]

    def record(self, row: Row) -> dict[str, Any]:
        """Returns the whole record of a row."""
        found = read_record(self.results, row.id)
        if found is None:  # went since the archive was read
            raise NothingToDraw(f"run {row.id} has just gone.")
        return found


_COLOURS = 256  # of a palette
_METHODS = ("audiomae", "visualmae", "vanilla_avmae", "avmae", "cav", "cavmae", "cavmae_sync")
_PALETTE = (9, 1, 2, 5, 4, 0, 3, 7)  # of seaborn's "colorblind", by method; the last is anyone else's
#: What marks mean, whatever their colour, and how they look.
TRAINED, UNTRAINED, MEAN, CHANCE, BAND = "a seed, trained", "a seed, untrained", "mean", "chance", "± std of seeds"
MARKS: Mapping[str, dict[str, Any]] = {
    TRAINED: {"marker": "o", "ms": 4, "ls": ""},
    UNTRAINED: {"marker": "o", "ms": 4, "ls": "", "markerfacecolor": "none"},
    MEAN: {"marker": "|", "ms": 10, "mew": 1.5, "ls": ""},
    CHANCE: {"ls": ":", "lw": 1},
    BAND: {"lw": 7, "alpha": 0.2},
}


def order(method: str) -> int:
    """Returns where a method comes in legends and on axes: as in the paper, others last."""
    return _METHODS.index(method) if method in _METHODS else len(_METHODS)


def label(method: str) -> str:
    """Returns a method's printed name, with which its card's summary begins."""
    known = registry.entries("method")
    return str(known[method].card["summary"]).partition(":")[0] if method in known else method


def main_rows(context: Context, rows: Sequence[Row]) -> list[Row]:
    """Returns of each method and weights the records of one configuration and the same clips: that with most seeds.

    Clips that were damaged for the test are none of them. Of configurations with as many seeds, the one whose
    pretraining was judged by most tasks, as those of a sweep are by few; then the newest.
    """
    places: dict[tuple[str, str], list[Group]] = {}
    for each in (found for found in group(rows) if not found.facts.get("data.corruption")):
        places.setdefault((each.first.method, each.first.weights), []).append(each)
    tasks = _tasks(context.archive)

    def merit(each: Group) -> tuple[int, int, str]:
        return len(each.rows), len(tasks[_pretraining(each.first.config)]), max(row.created for row in each.rows)

    return [row for groups in places.values() for row in max(groups, key=merit).rows]


@functools.lru_cache(maxsize=4)
def _tasks(archive: Records) -> dict[str, set[str]]:
    """Returns by which tasks each pretraining was judged."""
    found: dict[str, set[str]] = {}
    for row in archive.rows:
        found.setdefault(_pretraining(row.config), set()).add(row.task)
    return found


@functools.lru_cache(maxsize=2**16)
def _pretraining(config: Config) -> str:
    own = sorted(facts(config).items())
    return repr([item for item in own if item[0].startswith(("method", "train.", "data", "model.", "weights"))])


@functools.cache
def style() -> None:
    """Sets up matplotlib for all figures: no window, colours that the colour-blind tell apart, and steady output."""
    # They tell of every glyph, and of the list of fonts that the first import writes.
    for name in ("fontTools", "matplotlib"):
        logging.getLogger(name).setLevel(logging.WARNING)
    import matplotlib as mpl
    import seaborn as sns

    mpl.use("Agg")
    sns.set_theme(context="paper", style="ticks", palette="colorblind")
    mpl.rcParams.update(
        {
            "figure.dpi": 150,
            "savefig.dpi": 150,
            "figure.constrained_layout.use": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlesize": "medium",
            "axes.titleweight": "bold",
            "axes.grid": True,
            "grid.color": "0.92",
            "legend.frameon": False,
            "pdf.fonttype": 42,
            "svg.hashsalt": "avbench",
            "text.parse_math": False,  # a dollar in a name of the data is one
        }
    )


def colours(methods: Sequence[str]) -> dict[str, Any]:
    """Returns a colour for each method, the same in every figure."""
    import seaborn as sns

    palette = sns.color_palette("colorblind", 10)
    return {method: palette[_PALETTE[min(order(method), len(_PALETTE) - 1)]] for method in methods}


def subplots(rows: int, columns: int, *, width: float, height: float, **options: Any) -> tuple[Canvas, Any]:
    """Returns a canvas and its axes, an array (rows, columns); sizes in inches for each panel.

    Args:
        rows: Of panels.
        columns: Of panels.
        width: Of a panel, inches.
        height: Of a panel, inches.
        **options: For matplotlib's ``subplots``.
    """
    style()
    from matplotlib.figure import Figure

    canvas = Figure(figsize=(columns * width, rows * height))
    return canvas, canvas.subplots(rows, columns, squeeze=False, **options)


def legend(canvas: Canvas, axes: Any, *explained: str) -> None:
    """Puts the names of the methods in the axes beside them, each once, in their order, and what marks mean.

    Args:
        canvas: The figure.
        axes: Its panels.
        *explained: Which of ``MARKS`` the panels have.
    """
    from matplotlib.lines import Line2D

    marks = {text: mark for axis in axes.flat for mark, text in zip(*axis.get_legend_handles_labels(), strict=True)}
    places = {label(method): place for place, method in enumerate(_METHODS)}
    names = sorted(marks, key=lambda name: (places.get(name, len(places)), name))
    grey = [Line2D([], [], color="0.4", **MARKS[text]) for text in explained]
    canvas.legend(
        [*(marks[name] for name in names), *grey], [*names, *explained], loc="outside right center", fontsize="small"
    )


def seeds_of(rows: Sequence[Row]) -> str:
    """Returns ``seed 0`` or ``seeds 0 1 2``."""
    found = sorted({row.seed for row in rows})
    return f"seed{'s' if len(found) > 1 else ''} {' '.join(map(str, found))}"


def save(drawing: Drawing, folder: Path, name: str) -> Iterator[Path]:
    """Writes NAME.png, NAME.pdf and NAME.csv, each whole or not at all, and yields their paths.

    Args:
        drawing: The figure.
        folder: Where it goes.
        name: Of the files, without ending.
    """
    from avbench.files import atomic_path

    # Without times and versions, so that the same drawing gives the same bytes.
    metadata: dict[str, dict[str, Any]] = {
        "png": {"Software": None},
        "pdf": {"Creator": None, "Producer": None, "CreationDate": None},
    }
    for kind, known in metadata.items():
        path = folder / f"{name}.{kind}"
        with atomic_path(path) as temporary:
            drawing.canvas.savefig(temporary, format=kind, dpi=drawing.dpi, metadata=known)
            if kind == "png" and drawing.photographs:
                _with_palette(temporary)
        yield path
    path = folder / f"{name}.csv"
    with atomic_path(path) as temporary:
        drawing.table.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")
    yield path


def _with_palette(path: Path) -> None:
    from PIL import Image

    with Image.open(path) as image:
        small = image.convert("RGB").quantize(
            _COLOURS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.FLOYDSTEINBERG
        )
    small.save(path, format="PNG", optimize=True)
