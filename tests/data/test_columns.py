"""Columns of text against plain lists."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pytest

from avbench.data.corpus.columns import NumberLists, TextColumn, coded_lists, numbers, taken, texts

TEXTS = ["b", "", "ä – ☃", "b", "a"]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_a_column_is_the_sequence_of_its_texts(kind: pa.DataType) -> None:
    column = TextColumn(pa.chunked_array([TEXTS[:2], TEXTS[2:]], kind))
    assert list(column) == TEXTS
    assert len(column) == len(TEXTS)
    assert column[2] == TEXTS[2]
    assert column[-1] == "a"
    assert column[1:4] == TEXTS[1:4]
    assert np.asarray(column).tolist() == TEXTS
    assert np.asarray(TextColumn(pa.array([], kind))).shape == (0,)


def test_lists_are_coded_in_their_order() -> None:
    lists = [["b", "a"], [], ["a", "a", "c"], ["c"]]
    known = ["c", "a", "nobody", "b"]
    array = pa.array([["x"], *lists, ["y"]], pa.list_(pa.string()))
    for found in (pa.array(lists, pa.list_(pa.string())), array.slice(1, 4)):
        offsets, codes = coded_lists(found, known)
        assert offsets.dtype == np.int64
        assert codes.dtype == np.int32
        assert [[known[c] for c in codes[a:b]] for a, b in itertools.pairwise(offsets)] == lists
    offsets, codes = coded_lists(pa.array([], pa.list_(pa.string())), known)
    assert offsets.tolist() == [0]
    assert len(codes) == 0


def test_numbers_and_rows_are_those_of_arrow() -> None:
    for values in (pa.array([3, 1, 2]), pa.chunked_array([[0.5], [1.5, 2.5]]), pa.array([], pa.int64())):
        assert numbers(values).tolist() == values.to_pylist()
    assert np.isnan(numbers(pa.array([1.5, None]))[1])
    rows = np.array([2, 0, 2])[::-1]
    column = pa.chunked_array([["a", "b"], ["ü"]])
    assert taken(column, rows).to_pylist() == ["ü", "a", "ü"]
    assert taken(pa.table({"x": column}), rows[:0]).num_rows == 0
    assert texts(["", "ü", "a-b"]).equals(pa.array(["", "ü", "a-b"], pa.large_string()))
    assert len(texts([])) == 0


def test_a_number_of_a_list_is_found_by_row_and_place() -> None:
    rows = [[7, 8], None, [], [9]]
    for found in (pa.array(rows), pa.array([[1], *rows]).slice(1), pa.chunked_array([rows[:1], rows[1:]])):
        lists = NumberLists(found)
        assert [lists.at(0, 0), lists.at(0, 1), lists.at(3, 0)] == [7, 8, 9]
        assert [lists.at(0, 2), lists.at(1, 0), lists.at(2, 0), lists.at(3, -1)] == [None] * 4
