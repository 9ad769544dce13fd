"""What an encoder is made of: the hashes of its files, and the versions of the packages that these name.

Imports are read from the text, also those inside functions, as weights are often built in ``load``.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from importlib import metadata, util
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from avbench.files import sha256_file, sha256_text

_KNOWN = {"avbench", "torch", "numpy", *sys.stdlib_module_names}  # their versions are in every record


def of_file(path: Path) -> dict[str, str]:
    """Returns what a file is made of: itself and what it imports from beside it, and packages."""
    path = path.resolve()
    found: dict[str, str] = {}
    packages: set[str] = set()
    waiting, folder = [path], path.parent
    while waiting:
        file = waiting.pop()
        name = file.relative_to(folder).as_posix()
        if name in found:
            continue
        found[name] = sha256_file(file)
        for module in _imports(file):
            beside = list(_beside(folder, module))
            waiting += beside
            packages |= set() if beside else {module}
    return dict(sorted(found.items())) | _versions(packages)


def of_module(module: ModuleType) -> dict[str, str]:
    """Returns what a module is made of: of ours its file, of others all files of their package; and packages."""
    file = Path(str(module.__file__)).resolve()
    top = module.__name__.partition(".")[0]
    root = file
    if top == "avbench" or (top == module.__name__ and not hasattr(module, "__path__")):
        files = [file]
    else:
        root = Path(str(sys.modules[top].__file__ or file)).resolve().parent
        files = sorted(root.rglob("*.py"))
    lines = [f"{each.relative_to(root.parent).as_posix()} {sha256_file(each)}" for each in files]
    packages = {name for each in files for name in _imports(each)} - {top}
    return {module.__name__ if top == "avbench" else top: sha256_text("\n".join(lines))} | _versions(packages)


def _imports(file: Path) -> Iterator[str]:
    """Yields the first part of each module that a file imports, in whichever place."""
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name.partition(".")[0] for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from [node.module.partition(".")[0]] if node.module else (each.name for each in node.names)


def _beside(folder: Path, module: str) -> Iterator[Path]:
    if (folder / f"{module}.py").is_file():
        yield folder / f"{module}.py"
    if (folder / module).is_dir():
        yield from sorted((folder / module).rglob("*.py"))


def _versions(packages: set[str]) -> dict[str, str]:
    """Returns the versions of packages; of one that is edited in place, the hash of its files."""
    known = metadata.packages_distributions()
    found = {}
    for name in sorted(packages - _KNOWN):
        spec = None if name in sys.builtin_module_names else _spec(name)
        if name in known and (spec is None or "site-packages" in str(spec.origin)):
            found[name] = metadata.version(known[name][0])
        elif spec is not None and spec.origin:
            root = Path(spec.origin)
            files = sorted(root.parent.rglob("*.py")) if root.name == "__init__.py" else [root]
            found[name] = sha256_text("\n".join(f"{each.name} {sha256_file(each)}" for each in files))
    return found


def _spec(name: str) -> ModuleSpec | None:
    try:
        return util.find_spec(name)
    except (ImportError, ValueError):
        return None
