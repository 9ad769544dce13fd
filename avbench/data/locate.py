"""From what ``--data`` says to clips: the embedded set, a folder of videos, a prepared folder, a manifest."""

from __future__ import annotations

import dataclasses
import logging
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from avbench.config import MODALITIES, DataConfig, InputConfig, Modality
from avbench.errors import InputError, did_you_mean
from avbench.files import canonical_json, sha256_text
from avbench.files.paths import expanded, home
from avbench.processes import locked
from avbench.settings import build, to_dict

if TYPE_CHECKING:
    from avbench.data.corpus.clips import Clips
    from avbench.data.media.frame_grid import FrameGrid
    from avbench.data.media.prepare_settings import PrepareSettings
    from avbench.data.wants import Wants

log = logging.getLogger("avbench")
SOUNDSHAPES = "soundshapes"
EMBEDDED = {SOUNDSHAPES: 1, "soundshapes-2": 2}  # sets made on this machine, and the version that each is
PREPARED, AUTHORS = "manifest.parquet", "manifest.json"  # what the folder of either kind of clips holds
TUNE_SHARE = 20  # one tuning clip for every so many test clips


def cache_folder() -> Path:
    """Returns where prepared data is kept: ``$AVBENCH_CACHE``, or ``~/.cache/avbench``."""
    named = os.environ.get("AVBENCH_CACHE")
    return Path(named) if named else home() / ".cache" / "avbench"


@dataclass(frozen=True)
class Source:
    """Where the clips are, or will be once prepared."""

    name: str
    clips: Path  # a prepared folder, or an authors' manifest
    labels: str = ""
    videos: Path | None = None  # what is prepared into ``clips``
    settings: PrepareSettings | None = None
    counts: tuple[int, int, int] | None = None  # generated clips: train, tune, test
    seed: int = 0
    version: int = 1  # of generated clips
    frames: FrameGrid | None = None  # those a run looks at; None: all there are
    nearest: bool = False  # or those nearest to them, where they are not among the stored ones
    modality: Modality = "auto"  # which of sound and pictures is used
    fold: int = 1  # which of published folds says what trains and what is tested

    @property
    def ready(self) -> bool:
        """Whether the clips can be read at once."""
        # Where a cache may not be looked into, such as that of another's home, the clips are not there for us.
        return self.settings is None or os.access(self.clips / "prepare.json", os.F_OK)


def locate(data: DataConfig, inputs: InputConfig, *, option: str = "--data", wants: Wants | None = None) -> Source:
    """Finds out what ``data.source`` is, without preparing anything.

    Args:
        data: Names the source.
        inputs: Sizes that decide how videos are prepared.
        option: What the user named it with, in messages.
        wants: What anybody's encoder hears and sees, which then decides it; the embedded set is prepared as for others.

    Raises:
        InputError: There is no such name, file or folder, it holds no videos, or holds prepared clips and ``data.like``
            asks for others.
    """
    from avbench.data.media.frame_grid import FrameGrid
    from avbench.data.media.prepare_settings import LIKE, PrepareSettings

    frames = FrameGrid(data.n_frames, data.sampling) if wants is None else wants.grid
    modality = "both" if data.source in EMBEDDED else data.modality
    if wants is None or data.source in EMBEDDED:
        settings = _settings(data, inputs, FrameGrid(data.n_frames, data.sampling))
    else:
        settings = build(PrepareSettings, {**LIKE.get(data.like, {}), **wants.preparation(data.n_frames)})
    located = _located(data, dataclasses.replace(settings, modality=modality), option)
    if data.like and located.videos is None:
        raise InputError(
            f"data.like: found {data.like} with {data.source}, whose clips are prepared, valid: with videos; its"
            f" prepare.json tells how, and avbench data prepare --like {data.like} prepares the videos so."
        )
    return dataclasses.replace(
        located, frames=frames, nearest=wants is not None, modality=data.modality, fold=data.fold
    )


def _settings(data: DataConfig, inputs: InputConfig, frames: FrameGrid) -> PrepareSettings:
    """Returns how videos are prepared for these inputs."""
    from avbench.data.corpus.frames import to_store
    from avbench.data.media.prepare_settings import LIKE, PrepareSettings

    stored = to_store(frames, inputs)
    chosen = {"n_frames": stored.count, "sampling": data.sampling, "size": inputs.image_size}
    return build(PrepareSettings, {**LIKE.get(data.like, {}), **chosen, "sample_rate": inputs.sample_rate})


def _located(data: DataConfig, settings: PrepareSettings, option: str) -> Source:
    from avbench.data.catalogue.entry import names

    if data.source in EMBEDDED:
        return _embedded(data, settings)
    path = expanded(data.source)
    if data.source in names():
        path = _of_catalogue(data.source, option)
    elif not path.exists():
        raise InputError(
            f"{option} {data.source}: no such name, file or folder.{did_you_mean(data.source, names())} Valid:"
            f" {', '.join(EMBEDDED)}, a data set prepared from the catalogue (avbench list data), a folder or CSV of"
            " videos, shards (.tar) or tables (.parquet, .arrow) of videos, a prepared folder, a manifest.json."
        )
    if path.is_dir() and not (path / PREPARED).exists() and (path / AUTHORS).is_file():
        path = path / AUTHORS  # what preparing a set of pictures and sounds writes, and the authors' usual name
    if path.is_file() and path.suffix == ".json":
        name = path.resolve().parent.name if path.name == AUTHORS else path.stem
        return Source(name, path, labels=data.labels)
    if path.is_dir() and (path / PREPARED).exists():
        return Source(path.resolve().name, path)
    key = sha256_text(canonical_json([str(path.resolve()), _listing(path), _identity(settings)]))[:16]
    return Source(path.resolve().stem, cache_folder() / "prepared" / key, videos=path, settings=settings)


def _identity(settings: PrepareSettings) -> dict[str, object]:
    """Returns what names a folder of the cache; what older versions could do has the name that they gave it."""
    found = to_dict(settings, identity_only=True)
    return found if settings.modality in MODALITIES else {k: v for k, v in found.items() if k != "modality"}


def set_folder(name: str) -> Path:
    """Returns where ``avbench data prepare NAME`` puts a set of the catalogue unless told otherwise."""
    return cache_folder() / "sets" / name


def _of_catalogue(source: str, option: str) -> Path:
    """Returns the prepared folder or manifest of a data set that is given by name."""
    folder = set_folder(source)
    if (folder / PREPARED).is_file() or (folder / AUTHORS).is_file():
        return folder
    raise InputError(
        f"{option} {source}: not prepared, valid: what 'avbench data prepare {source} --root DIR' writes into {folder};"
        f" with --out, name that folder; 'avbench data show {source}' says how to get it. ./{source} means a folder of"
        " that name here."
    )


def _listing(path: Path) -> list[list[object]]:
    """Returns what tells that a folder's videos are still the same: names, labels, sizes and times of change."""
    from avbench.data.prepare.samples import containers
    from avbench.data.prepare.source import list_source

    rows: list[list[object]] = []
    if held := containers(path):  # which change when what is in them does
        return [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in held]
    for file in list_source(path).files:
        try:
            stat = Path(file.path).stat()
            changed = [stat.st_size, stat.st_mtime_ns]
        except OSError:  # a CSV may name files that are not there; they are listed as rejected
            changed = [-1, -1]
        rows.append([file.name, list(file.labels), file.split, *changed])
    return rows


def _embedded(data: DataConfig, settings: PrepareSettings) -> Source:
    version = EMBEDDED[data.source]
    counts = (data.train_clips, max(2, data.test_clips // TUNE_SHARE), data.test_clips)
    name = f"{SOUNDSHAPES}-v{version}-seed{data.clips_seed}-" + "-".join(map(str, counts))
    key = sha256_text(canonical_json([name, _identity(settings)]))[:16]
    cache = cache_folder()
    return Source(
        data.source,
        cache / "prepared" / key,
        videos=cache / name,
        settings=settings,
        counts=counts,
        seed=data.clips_seed,
        version=version,
    )


def open_source(source: Source, *, workers: int = -1, progress: bool = True) -> Clips:
    """Returns the clips, making and preparing them first where that has not been done.

    Args:
        source: Where they are.
        workers: Processes that prepare.
        progress: Whether to show it.

    Raises:
        InputError: The data cannot be read, or do not have the frames asked for.
    """
    from avbench.data.corpus.folds import in_fold
    from avbench.data.corpus.frames import framed
    from avbench.data.corpus.one_modality import using
    from avbench.data.corpus.stored import open_clips

    if not source.ready and source.videos is not None and source.settings is not None:
        from avbench.data.prepare.driver import prepare

        cache = cache_folder()
        try:
            source.clips.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=source.clips.parent):
                pass
        except OSError as error:
            raise InputError(
                f"{cache}: the cache cannot be written ({error.strerror}); name a folder that can be in AVBENCH_CACHE."
            ) from None
        said = source.name
        with locked(cache / "locks" / source.clips.name, lambda: log.info("%s is being prepared; waiting", said)):
            if not source.ready:  # else another process did it meanwhile
                log.info("preparing %s (once, into the cache)", said)
                videos = source.videos
                if source.counts is not None:
                    from avbench.data.soundshapes import make

                    counts = dict(zip(("train", "tune", "test"), source.counts, strict=True))
                    make(videos, **counts, seed=source.seed, version=source.version, workers=workers, progress=progress)
                    videos = videos / "labels.csv"
                prepare(videos, source.clips, source.settings, workers=workers, progress=progress)
    stored = open_clips(source.clips, source.labels)
    clips = stored if source.frames is None else framed(stored, source.frames, source.clips, nearest=source.nearest)
    if len(clips) == 0:
        raise InputError(f"{source.clips}: no clip can be used; see rejected.csv there for the reasons.")
    return in_fold(using(clips, source.modality, source.videos or source.clips), source.clips, source.fold)
