"""Opens what runs name as their data, each source once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from avbench.data.corpus.pair import Corpus
from avbench.data.locate import Source, locate, open_source

if TYPE_CHECKING:
    from avbench.config import DataConfig, InputConfig
    from avbench.data.corpus.clips import Clips
    from avbench.data.wants import Wants


class Sources:
    """Data sources that were looked up, and the clips of those that were opened.

    Args:
        progress: Show bars while videos are prepared.
    """

    def __init__(self, *, progress: bool = True) -> None:
        self._progress = progress
        self._found: dict[tuple[DataConfig, InputConfig, Wants | None], Source] = {}
        self._clips: dict[Source, Clips] = {}
        self._corpora: dict[tuple[Source, Source], Corpus] = {}

    def locate(self, data: DataConfig, inputs: InputConfig, wants: Wants | None = None) -> tuple[Source, Source]:
        """Returns where the clips to train on and those to judge are: the same but with ``data.eval_source``.

        Args:
            data: Names the sources.
            inputs: Sizes that decide how videos are prepared.
            wants: See :func:`~avbench.data.locate.locate`.

        Raises:
            InputError: There is no such name, file or folder.
        """
        found = []
        for each, option in ((data, "--data"), (data.judged, "--eval-data")):
            key = each, inputs, wants
            if key not in self._found:
                self._found[key] = locate(each, inputs, option=option, wants=wants)
            found.append(self._found[key])
        return found[0], found[1]

    def open(self, pair: tuple[Source, Source], *, paired: bool, workers: int = -1) -> Corpus:
        """Returns the clips to train on and to judge, preparing them if needed.

        Args:
            pair: What :meth:`locate` returned.
            paired: Whether these are two.
            workers: Processes that prepare.

        Raises:
            InputError: They cannot be read, or two sources name their classes in ways that do not fit.
        """
        if pair not in self._corpora:
            train, judged = (self._open(source, workers) for source in pair)
            self._corpora[pair] = Corpus.pair(train, judged) if paired else Corpus.of(train)
        return self._corpora[pair]

    def _open(self, source: Source, workers: int) -> Clips:
        if source not in self._clips:
            self._clips[source] = open_source(source, workers=workers, progress=self._progress)
        return self._clips[source]
