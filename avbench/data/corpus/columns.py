"""A column of text held by Arrow: two million ids cost their bytes, not two million Python objects.

Arrow imports pandas (0.3 s) whenever it turns values of Python or NumPy into its own or back, and only so that it might
know them. A run whose record is there needs no pandas, hence the detours over buffers here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_CHUNK = 65536


def coded_lists(lists: Any, known: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Returns lists of texts as offsets (n + 1,) into codes (texts in all,), indices of ``known``.

    Args:
        lists: Arrow list array, every text of it in ``known``, without nulls.
        known: Distinct texts.
    """
    lengths = numbers(lists.value_lengths())
    offsets = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
    flat = lists.flatten().cast(pa.large_string())
    return offsets, numbers(pc.index_in(flat, texts(known))).astype(np.int32)


def one_array(column: Any) -> Any:
    """Returns a column as one array: indexing a chunked one searches the chunks."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def numbers(column: Any) -> NDArray[Any]:
    """Returns a column of numbers as NumPy has it, (n,)."""
    array = one_array(column)
    found: NDArray[Any] = array.to_numpy(zero_copy_only=False) if array.null_count else np.from_dlpack(array)
    return found


def taken(column: Any, rows: NDArray[np.int64]) -> Any:
    """Returns some rows of a column or a table."""
    whole = np.ascontiguousarray(rows, np.int64)
    return column.take(pa.Array.from_buffers(pa.int64(), len(whole), [None, pa.py_buffer(whole)]))


def texts(values: Sequence[str]) -> Any:
    """Returns texts as an Arrow array of type large_string."""
    parts = [value.encode() for value in values]
    ends = np.cumsum([0, *map(len, parts)], dtype=np.int64)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(b"".join(parts))]
    return pa.Array.from_buffers(pa.large_string(), len(parts), buffers)


class NumberLists:
    """A column of lists of numbers, read a number at a time without an object of Arrow.

    Args:
        column: Lists without nulls within; a null is an empty list.
    """

    def __init__(self, column: Any) -> None:
        lists = one_array(column)
        self._ends, self._values = numbers(lists.offsets), numbers(lists.values)

    def at(self, row: int, k: int) -> int | None:
        """Returns number ``k`` of a row; None where it has none."""
        first, end = self._ends[row : row + 2].tolist()
        return int(self._values[first + k]) if 0 <= k < end - first else None


class TextColumn(Sequence[str]):
    """A read-only sequence of str over an Arrow array; iteration makes the objects chunk by chunk."""

    def __init__(self, values: Any) -> None:
        if isinstance(values, pa.ChunkedArray):
            values = values.cast(pa.large_string()).combine_chunks()
        self._values = values

    def __len__(self) -> int:
        return len(self._values)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            texts: list[str] = self._values[index].to_pylist()
            return texts
        text: str = self._values[int(index)].as_py()
        return text

    def __iter__(self) -> Iterator[str]:
        for first in range(0, len(self._values), _CHUNK):
            yield from self._values.slice(first, _CHUNK).to_pylist()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[np.str_]:
        # Few distinct values (splits) are the case that matters: code them first.
        coded = self._values.dictionary_encode()
        found = np.asarray(coded.dictionary.to_pylist(), dtype=dtype or np.str_)
        if len(found) == 0:
            return np.zeros(len(self._values), dtype=dtype or np.str_)
        result: NDArray[np.str_] = found[numbers(coded.indices)]
        return result
