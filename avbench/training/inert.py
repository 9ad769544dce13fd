"""Stand-ins for what other projects keep beside their weights, so that a file is opened without making any of it.

``torch.load`` makes only objects of classes it is told of. Those here are known to lie in weights files and are not
weights; each is made as an empty object, whatever the file says: nothing of the real class is imported or called.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

_CORE = ("numpy.core.multiarray", "numpy._core.multiarray")  # before NumPy 2, and since
_PATHS = ("Path", "PosixPath", "PurePosixPath", "WindowsPath", "PureWindowsPath")
_OBJECTS = (
    *("argparse.Namespace", "types.SimpleNamespace", "decimal.Decimal"),
    *(f"{module}.{name}" for module in ("pathlib", "pathlib._local") for name in _PATHS),
    *(f"datetime.{name}" for name in ("date", "datetime", "timedelta", "timezone")),
    *(f"{module}.{name}" for module in _CORE for name in ("scalar", "_reconstruct")),
    *("numpy.dtype", "numpy.ndarray"),
    *(f"numpy.dtypes.{name}" for name in dir(np.dtypes) if name.endswith("DType")),
    *("omegaconf.dictconfig.DictConfig", "omegaconf.listconfig.ListConfig"),
    *(f"omegaconf.base.{name}" for name in ("ContainerMetadata", "Metadata", "Node")),
    *(f"omegaconf.nodes.{name}Node" for name in ("Any", "Boolean", "Float", "Integer", "String")),
    *("typing.Any", "builtins.list", "builtins.int", "builtins.float", "builtins.dict", "builtins.str"),
    *(f"__builtin__.{name}" for name in ("list", "int", "float", "dict", "str")),
)
# Mappings are filled after they are made; plain ones take what is put into them.
_MAPPINGS = (
    *("collections.defaultdict", "yacs.config.CfgNode", "easydict.EasyDict", "addict.addict.Dict"),
    *("lightning.fabric.utilities.data.AttributeDict", "pytorch_lightning.utilities.parsing.AttributeDict"),
)


class _Inert:
    """Takes whatever a file says of an object, and keeps nothing."""

    def __new__(cls, *_: Any, **__: Any) -> _Inert:
        return super().__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, _: object) -> None:
        pass


class _Mapping:
    """Makes an empty dictionary in place of its own object."""

    def __new__(cls, *_: Any, **__: Any) -> dict[str, Any]:  # type: ignore[misc]
        return {}


@functools.cache
def inert_globals() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """Returns the stand-ins with the full names they stand for, as :func:`torch.serialization.safe_globals` has it."""
    found: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = []
    for names, base in ((_OBJECTS, _Inert), (_MAPPINGS, _Mapping)):
        for full in names:
            module, _, name = full.rpartition(".")
            found.append((type(name, (base,), {"__module__": module}), full))
    return found
