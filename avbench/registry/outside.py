"""What code from outside the package a method or task is made of, and its hash: part of the ids of what it computes."""

from __future__ import annotations

import hashlib
import inspect
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from types import ModuleType

# Ours, and what ours stands on: their versions are in every record.
_KNOWN = {"avbench", "torch", "torchaudio", "torchvision", "timm", "numpy", "scipy", "pandas", "sklearn", "PIL", "av"}
_KNOWN |= {"yaml", "tqdm", "safetensors", "huggingface_hub", *sys.stdlib_module_names}


def outside(module: ModuleType) -> dict[str, str]:
    """Returns the hash of the Python files of each package that a module is made of, by the package's name.

    These are the module's own, those its classes derive from and those whose classes, functions and modules it names,
    each with all files of the package and of the distribution that brings it: whatever may be edited counts. The
    package's own code does not, nor what it depends on.
    """
    names = dict.fromkeys(name for name in _modules(module) if name.partition(".")[0] not in _KNOWN)
    if not names:
        return {}
    distributions = metadata.packages_distributions()
    files: dict[str, dict[Path, str]] = {}
    for name in names:
        top = name.partition(".")[0]
        found = files.setdefault(top, {})
        found.update(_package_files(name))
        for distribution in distributions.get(top, []):
            found.update(_distribution_files(distribution))
    return {top: _sha256(found) for top, found in sorted(files.items()) if found}


def _modules(module: ModuleType) -> Iterator[str]:
    yield module.__name__
    for value in list(vars(module).values()):
        if isinstance(value, ModuleType):
            yield value.__name__
        elif isinstance(value, type):
            yield from (cls.__module__ for cls in value.__mro__)
        elif inspect.isroutine(value) and isinstance(getattr(value, "__module__", None), str):
            yield value.__module__


def _package_files(name: str) -> dict[Path, str]:
    """Returns the Python files of the outermost package of a module, or the module's file, with names to hash."""
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        module = sys.modules.get(".".join(parts[:end]))
        file = getattr(module, "__file__", None)
        if file is None:  # a package that several distributions share has no file, and holds those of others
            continue
        path = Path(file).resolve()
        if not hasattr(module, "__path__"):
            return {path: path.name}
        root = path.parent
        return {each: each.relative_to(root.parent).as_posix() for each in root.rglob("*.py")}
    return {}


def _distribution_files(name: str) -> dict[Path, str]:
    """Returns the Python files that a distribution installed; of one that is edited in place, none."""
    found = {}
    for file in metadata.distribution(name).files or ():
        if file.suffix == ".py" and ".." not in file.parts and not file.name.startswith("__editable__"):
            path = Path(str(file.locate())).resolve()
            if path.is_file():
                found[path] = file.as_posix()
    return found


def _sha256(files: dict[Path, str]) -> str:
    digest = hashlib.sha256()
    for path, name in sorted(files.items(), key=lambda item: item[1]):
        digest.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()
