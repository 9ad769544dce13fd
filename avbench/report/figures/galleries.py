"""Retrieval to look at: queries and what was found first for each."""

from __future__ import annotations

from avbench.compare.run import Run
from avbench.data.corpus.frames import eval_frame
from avbench.errors import AvbenchError
from avbench.report.figures.base import Context, Drawing, NothingToDraw, label, subplots
from avbench.report.figures.samples import bare, chosen_row, drawn_ids, judged_clips, show_sound, spectrogram
from avbench.report.judged import input_of, nearest

QUERIES, FOUND = 4, 5
_WORDS = {"a2v": ("sound", "frames"), "v2a": ("frame", "sounds")}


def gallery(context: Context, direction: str) -> list[Drawing]:
    """Draws queries, chosen by chance, and the clips found for each, the right one framed.

    Sounds are drawn as spectrograms, each above the frame of its clip.

    Args:
        context: The records.
        direction: ``a2v``: queries are sounds; ``v2a``: frames.

    Raises:
        NothingToDraw: No retrieval, or its clips or embeddings are gone.
    """
    import pandas as pd

    row = chosen_row(context, "retrieval")
    record = context.record(row)
    clips = judged_clips(context, record)
    ids = list(clips.ids)
    queries = drawn_ids(ids, QUERIES)
    try:
        found = nearest(Run(context.results, record), queries, FOUND)[direction]
    except AvbenchError as error:
        raise NothingToDraw(str(error)) from None
    place, inputs = {name: i for i, name in enumerate(ids)}, input_of(record["config"])
    columns = 1 + FOUND
    canvas, axes = subplots(2 * len(queries), columns, width=1.25, height=0.85, height_ratios=[1, 2] * len(queries))
    table = []
    for number, (query, result) in enumerate(zip(queries, found, strict=True)):
        for column, name in enumerate((query, *result.ids)):
            above, below = axes[2 * number, column], axes[2 * number + 1, column]
            show_sound(above, spectrogram(clips, place[name], record))
            below.imshow(clips.frame(place[name], eval_frame(clips, place[name], inputs)), aspect="equal")
            right = bool(column) and name == query
            asked = above if direction == "a2v" else below
            bare(below, "#009e73" if right else None)
            if not column:
                bare(asked, "#de8f05", "--")
                above.set_title(f"query, rank {result.rank:g}", fontsize=7)
            else:
                above.set_title(f"{column}{', right' if right else ''}", fontsize=7)
                table.append({"query": query, "rank": result.rank, "place": column, "found": name})
    asked_for, given = _WORDS[direction]
    caption = (
        f"For the {asked_for} of a clip (dashed) the {FOUND} nearest {given} of {len(ids)} clips of {context.data}, by"
        f" {label(record['method'])}, seed {row.seed}; the query's own in green. The spectrogram above each frame is"
        " the sound of the same clip. Queries were chosen by chance."
    )
    alt = f"{len(queries)} queries, each with {FOUND} clips that were found for it."
    return [Drawing(canvas, pd.DataFrame(table), caption, alt, dpi=110, photographs=True)]
