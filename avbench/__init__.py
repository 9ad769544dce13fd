"""avbench: the benchmark and ablation harness for audio-visual self-supervised learning.

The Python face: :func:`run`, :func:`results`, :func:`load_model`, :func:`similarity`, and :class:`Encoder`, which
anybody derives from. They are imported when first used, so that importing the package needs neither torch nor pandas.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from avbench.version import __version__

if TYPE_CHECKING:
    from avbench.api import load_model, results, run, similarity
    from avbench.encoders.base import Encoder

__all__ = ["Encoder", "__version__", "load_model", "results", "run", "similarity"]


def __getattr__(name: str) -> Any:
    if name == "Encoder":
        from avbench.encoders.base import Encoder

        return Encoder
    if name in __all__:
        from avbench import api

        return getattr(api, name)
    raise AttributeError(f"module 'avbench' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__
