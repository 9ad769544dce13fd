"""Anybody's encoder as an entry like a method's: found by file, by module or by name, known by the functions it has.

``FILE.py:Class``, ``PACKAGE.MODULE:Class``, the name of an entry point in the group ``avbench.encoders``, or of an
adapter of ours. The class is imported to know what it can: unlike a method's, its file has no card.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import sys
import traceback
import types
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

from avbench.errors import RAISED, InputError, did_you_mean, unknown
from avbench.files import sha256_text
from avbench.files.paths import expanded
from avbench.registry import ENCODER, OWN, Component
from avbench.registry.encoder_options import options_of
from avbench.registry.encoder_source import of_file, of_module
from avbench.settings import Settings

_BASE = ("avbench.encoders.base", "Encoder")  # not imported, as encoders stand above what finds them
OURS = {  # adapters, by name
    "imagebind": "avbench.encoders.imagebind:ImageBind",
    "pair": "avbench.encoders.pair:Pair",
    "pe_av": "avbench.encoders.pe_av:PeAv",
}
_FOLDERS: set[str] = set()  # where files of encoders were
_GIVEN: dict[str, Any] = {}  # classes that were given themselves, by the names that stand for them
# What it defines, and how that is called (arguments beside self).
CALLED_WITH = {
    "revision": (),
    "load": ("device", "checkpoint"),
    "audio": ("waves", "rate"),
    "visual": ("frames", "times"),
    "joint": ("waves", "rate", "frames", "times"),
    "patches": ("frames", "times"),
    "audio_tokens": ("waves", "rate"),
    "similarity": ("audio", "visual"),
    "texts": ("texts",),
    "prepare_audio": ("wave", "rate"),
    "prepare_visual": ("frames", "times"),
}
# What these are defined beside, as that says what it hears and sees.
_BESIDE = {"patches": ("visual",), "audio_tokens": ("audio",), "joint": ("audio", "visual")}


@dataclass(frozen=True)
class EncoderComponent(Component):
    """An encoder; ``name`` is what finds it, ``shown`` what its row is called."""

    section: ClassVar[str] = ENCODER
    encoder: ClassVar[bool] = True

    @property
    def cls(self) -> Any:
        """The class."""
        return _load(self.name)[0]

    @property
    def shown(self) -> str:
        """The class's name, or what the class calls itself."""
        own = vars(self.cls).get("name")
        return own if isinstance(own, str) else str(self.cls.__name__)

    @functools.cached_property
    def card(self) -> dict[str, Any]:
        """What a method's card says, from the functions that the class defines."""
        has = {name for name in CALLED_WITH if defines(self.cls, name)}
        modalities = tuple(each for each in ("audio", "visual") if each in has)
        offered = {
            "embeddings": len(modalities) == 2,
            "vectors": True,
            "patch_tokens": {"audio", "patches"} <= has or {"audio_tokens", "patches"} <= has,
            "fine_tuning": bool(getattr(self.cls, "trainable", False)),
            "texts": "texts" in has,
        }
        doc = (inspect.getdoc(self.cls) or "").partition("\n")[0] if self.cls.__doc__ else ""
        return {
            "summary": doc or f"{self.shown}: an encoder",
            "modalities": modalities,
            "abilities": tuple(name for name, offers in offered.items() if offers),
        }

    def load(self) -> types.ModuleType:
        """Returns what stands for a method's module: ``METHOD``, the class, and ``CONFIG``, its arguments."""
        module = types.ModuleType(self.module)
        vars(module).update(METHOD=self.cls, CONFIG=self.config_class)
        return module

    @functools.cached_property
    def config_class(self) -> type[Settings]:
        """The class of its constructor's arguments."""
        return options_of(self.cls, self.name)

    @property
    def sources(self) -> dict[str, str]:
        """The hashes of the files it is made of, and the versions of the packages these name."""
        return _load(self.name)[1]


def names() -> dict[str, str]:
    """Returns the encoders that have names, and what each stands for."""
    points = {point.name: point.value for point in metadata.entry_points(group="avbench.encoders")}
    return {**OURS, **points}


def is_encoder(name: str) -> bool:
    """Returns whether a name is meant to be an encoder's, and not a method's."""
    return ":" in name or name.endswith(".py") or name in names()


def defines(encoder: Any, name: str) -> bool:
    """Returns whether an encoder, or its class, has a function; None in its place takes away an inherited one."""
    return callable(getattr(encoder, name, None))


def named(encoder: str | type) -> str:
    """Returns the name of an encoder; of a class itself, of a notebook or a function, one that stands for it.

    The next :func:`forget` ends what such a name stands for.

    Raises:
        InputError: It is neither a name nor a class.
    """
    if isinstance(encoder, str):
        return encoder
    if not isinstance(encoder, type):
        raise InputError(f"encoder: found {encoder!r}, valid: a name, FILE.py:Class, or a class of encoders.")
    name = f"{encoder.__module__}:{encoder.__qualname__}"
    _GIVEN[name] = encoder
    return name


@functools.cache
def find(name: str) -> EncoderComponent:
    """Returns an encoder, imported and checked.

    Raises:
        InputError: There is none, it cannot be imported, or does not define what it must.
    """
    if not is_encoder(name):
        known = names()
        raise InputError(
            f"--encoder {name}: no such name.{did_you_mean(name, known)} Valid: FILE.py:Class, PACKAGE.MODULE:Class,"
            f" {', '.join(sorted(known))}."
        )
    cls, _ = _load(name)
    origin = OWN if cls.__module__.startswith(f"{OWN}.") else cls.__module__
    try:
        path = Path(inspect.getfile(cls))
    except (OSError, TypeError):  # typed at a prompt
        path = Path(cls.__module__)
    return EncoderComponent(name, cls.__module__, path, origin, "method")


@functools.cache
def _load(name: str) -> tuple[Any, dict[str, str]]:
    """Returns an encoder's class, checked, and what it is made of."""
    if name in _GIVEN:
        _check(name, _GIVEN[name])
        return _GIVEN[name], {}
    place, _, wanted = names().get(name, name).rpartition(":")
    if not place or not wanted:
        there = _classes(_of_file(name, expanded(name))) if name.endswith(".py") else []
        valid = ", ".join(f"{name}:{each}" for each in there) or "FILE.py:Class or PACKAGE.MODULE:Class"
        raise InputError(f"--encoder {name}: found no class, valid: {valid}.")
    in_file = place.endswith(".py") or "/" in place
    module = _of_file(name, expanded(place)) if in_file else _of_package(name, place)
    cls = getattr(module, wanted, None)
    if cls is None:
        raise unknown(f"class of {place}", wanted, _classes(module))
    _check(name, cls)
    return cls, of_file(expanded(place)) if in_file else of_module(module)


def _classes(module: types.ModuleType) -> list[str]:
    """Returns the names of the encoders of a module."""
    return [key for key, value in vars(module).items() if _is_encoder(value) and value.__module__ != _BASE[0]]


def forget() -> None:
    """Forgets the encoders of files, which may have been edited: a notebook's next run reads them again."""
    _GIVEN.clear()
    _load.cache_clear()
    find.cache_clear()
    for called, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and str(Path(file).parent) in _FOLDERS:
            del sys.modules[called]


def _of_file(name: str, path: Path) -> types.ModuleType:
    if not path.is_file():
        raise InputError(f"--encoder {name}: no such file {path}; valid: FILE.py:Class.")
    path = path.resolve()
    folder = str(path.parent)
    _FOLDERS.add(folder)
    if folder not in sys.path:  # what lies beside it can be imported, as by a script
        sys.path.insert(0, folder)
    called = f"avbench_encoder_{path.stem}_{sha256_text(str(path))[:8]}"
    spec = importlib.util.spec_from_file_location(called, path)
    if spec is None or spec.loader is None:
        raise InputError(f"--encoder {name}: {path} is no Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[called] = module
    try:
        spec.loader.exec_module(module)
    except RAISED as error:
        del sys.modules[called]
        raise InputError(f"--encoder {name}: cannot be imported: {told(error, path)}.") from error
    return module


def _of_package(name: str, place: str) -> types.ModuleType:
    folder = str(Path.cwd())
    if folder not in sys.path:  # as by python -m
        sys.path.append(folder)
    try:
        return importlib.import_module(place)
    except RAISED as error:
        raise InputError(f"--encoder {name}: {place} cannot be imported: {told(error, Path(place))}.") from error


def told(error: BaseException, path: Path | None = None) -> str:
    """Returns in one line what somebody's code raised, and where in it.

    Args:
        error: What was raised.
        path: Their file; None: the last place is named whatever its file.
    """
    text = " ".join(str(error).split())
    places = traceback.extract_tb(error.__traceback__)
    own = [each for each in places if (path is None or Path(each.filename) == path) and each.filename[:1] != "<"]
    where = f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
    if isinstance(error, SyntaxError):
        where = f" (line {error.lineno})"
    return f"{type(error).__name__}{f': {text}' if text else ''}{where}"


def _is_encoder(cls: Any) -> bool:
    return isinstance(cls, type) and any((each.__module__, each.__name__) == _BASE for each in cls.__mro__)


def _check(name: str, cls: Any) -> None:
    """Checks a class against what is asked of an encoder.

    Raises:
        InputError: It is none, defines neither ``audio`` nor ``visual``, or something that is called otherwise.
    """
    if not _is_encoder(cls):
        raise InputError(f"--encoder {name}: found {cls!r}, valid: a subclass of avbench.Encoder.")
    if not (defines(cls, "audio") or defines(cls, "visual")):
        raise InputError(f"--encoder {name}: {cls.__name__} defines neither audio nor visual; define one of them.")
    for each, needed in _BESIDE.items():
        lacking = [function for function in needed if not defines(cls, function)]
        if defines(cls, each) and lacking:
            raise InputError(
                f"--encoder {name}: {cls.__name__} defines {each} without {' and '.join(lacking)}, valid: beside"
                f" {' and '.join(needed)}, for probes and retrieval; a mean of what it gives will do."
            )
    if cls.trainable and ("torch.nn.modules.module", "Module") not in {(c.__module__, c.__name__) for c in cls.__mro__}:
        raise InputError(
            f"--encoder {name}: {cls.__name__}: found trainable = True, valid for a torch.nn.Module: derive from"
            " avbench.Encoder and torch.nn.Module."
        )
    for each, arguments in CALLED_WITH.items():
        if not defines(cls, each):
            continue
        given = arguments if isinstance(inspect.getattr_static(cls, each), staticmethod) else ("self", *arguments)
        try:
            inspect.signature(getattr(cls, each)).bind(*given)
        except TypeError as error:
            raise InputError(
                f"--encoder {name}: {cls.__name__}.{each}: {error}; valid: {each}(self, {', '.join(arguments)})."
            ) from None
    options_of(cls, name)
