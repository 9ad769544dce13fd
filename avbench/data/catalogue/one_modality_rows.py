"""Official lists of sets of sound alone or pictures alone, two of them in folds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from avbench.data.catalogue.reading import AnnotationRow, Reading


def esc50(reading: Reading) -> Iterator[AnnotationRow]:
    """``filename,fold,target,category,...``: a clip is tested in its own fold and trains in the others."""
    count = reading.entry.folds
    for line, row in reading.named("filename", "fold", "category"):
        fold = int(reading.number(line, row["fold"]))
        if not 1 <= fold <= count:
            raise reading.bad(line, row["fold"], f"a fold, 1 to {count}")
        id = PurePosixPath(row["filename"]).stem
        folds = tuple("test" if each == fold else "train" for each in range(1, count + 1))
        yield AnnotationRow(id, "", (row["category"],), id, folds=folds)


def ucf101(reading: Reading) -> Iterator[AnnotationRow]:
    """``Class/v_Class_gNN_cNN.avi``, of training lists with the class's number behind it."""
    for line, cells in reading.table(" "):
        path = PurePosixPath(cells[0])
        if path.suffix != ".avi" or len(path.parts) != 2:
            raise reading.bad(line, cells[0], "Class/v_Class_gNN_cNN.avi")
        folds = tuple(reading.split if each == reading.fold else "" for each in range(1, reading.entry.folds + 1))
        yield AnnotationRow(path.stem, "", (path.parts[0],), path.stem, folds=folds)


def fsd50k(reading: Reading) -> Iterator[AnnotationRow]:
    """``fname,labels,mids[,split]``, labels joined by commas; of the evaluation list, all rows are test clips.

    A class is named with its mid, so as many of both tell that no name has a comma of its own.
    """
    for line, row in reading.named("fname", "labels", "mids"):
        labels, mids = (tuple(filter(None, row[key].split(","))) for key in ("labels", "mids"))
        if len(labels) != len(mids):
            raise reading.bad(line, row["labels"], f"as many labels, joined by commas, as mids ({len(mids)})")
        id = row["fname"].removesuffix(".wav")
        yield AnnotationRow(id, reading.split_of(line, row.get("split", "")), labels, id)
