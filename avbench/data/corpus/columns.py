"""A column of text held by Arrow: two million ids cost their bytes, not two million Python objects."""

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
    lengths = lists.value_lengths().to_numpy(zero_copy_only=False)
    offsets = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
    flat = lists.flatten().cast(pa.large_string())
    codes: NDArray[np.int32] = pc.index_in(flat, pa.array(known, pa.large_string())).to_numpy(zero_copy_only=False)
    return offsets, codes.astype(np.int32)


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
        texts = np.asarray(coded.dictionary.to_pylist(), dtype=dtype or np.str_)
        if len(texts) == 0:
            return np.zeros(len(self._values), dtype=dtype or np.str_)
        result: NDArray[np.str_] = texts[coded.indices.to_numpy(zero_copy_only=False)]
        return result
