"""How metrics are read: their unit, decimals, printed name, and which direction is better, in this one place.

A metric is known by the last part of its key: ``joint/mAP`` is ``mAP``. A task of another package states its own in its
card: ``units={"latency": {"factor": 1000, "symbol": "ms", "digits": 1, "better": "lower"}}``. What nobody states is a
plain number, of which higher is better: it is shown as it was recorded.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from avbench.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Unit:
    """How one metric is read.

    Attributes:
        factor: What a recorded value is multiplied by for people.
        symbol: What stands behind such a number, as ``%``; "": nothing.
        digits: Decimals shown.
        coarse: Decimals where there is little room: ends of intervals, tables, sweeps, the page.
        better: Whether ``higher`` or ``lower`` values are better.
        share: Whether it is a share of samples, the mean of hits and misses, whose interval is Wilson's.
        name: How it is printed; "": as it is keyed.
    """

    factor: float = 1.0
    symbol: str = ""
    digits: int = 3
    coarse: int = 3
    better: Literal["higher", "lower"] = "higher"
    share: bool = False
    name: str = ""

    @property
    def lower(self) -> bool:
        """Whether lower values are better."""
        return self.better == "lower"


PLAIN = Unit()
PERCENT = Unit(factor=100.0, symbol="%", digits=2, coarse=1)
SHARE = Unit(factor=100.0, symbol="%", digits=2, coarse=1, share=True)
LOSS = Unit(better="lower")

_NAMED: dict[str, Unit] = {
    **dict.fromkeys(("mAP", "mAUC", "AP", "AUC", "AUC_adaptive", "IAUC", "IAUC_adaptive"), PERCENT),
    **dict.fromkeys(("IoU", "mIoU", "mIoU_adaptive", "F", "AP_extended", "max_F1"), PERCENT),
    **dict.fromkeys(("peak", "LocAcc"), SHARE),
    "median_rank": Unit(digits=1, coarse=1, better="lower", name="median rank"),
    "mean_rank": Unit(digits=1, coarse=1, better="lower", name="mean rank"),
    "d_prime": Unit(name="d'"),
    "mse": LOSS,
    "loss": LOSS,
    "contrast_loss": LOSS,
    "tuning_loss": LOSS,
}
_SHARES = re.compile(r"R@\d+|top\d+|(c|I)IoU(_adaptive)?@0\.5")


def unit(metric: str, task: str = "") -> Unit:
    """Returns how a metric is read.

    Args:
        metric: Its key, of which the last part counts.
        task: The task that it is of, whose card may state it; "": the metrics of this package alone.

    Raises:
        InputError: The task's card states a unit that is none.
    """
    name = metric.rpartition("/")[2]
    own = _stated(task) if task else {}
    return own.get(name) or _NAMED.get(name) or (SHARE if _SHARES.fullmatch(name) else PLAIN)


def names(task: str) -> list[str]:
    """Returns the names of metrics that this package or a task's card states, but for those with a number in them."""
    return sorted({*_NAMED, *_stated(task), "R@1", "top1", "cIoU@0.5"})


def known(name: str, task: str) -> bool:
    """Returns whether anybody states how a metric is read, by the last part of its key."""
    return name in _NAMED or name in _stated(task) or _SHARES.fullmatch(name) is not None


@functools.cache
def _stated(task: str) -> Mapping[str, Unit]:
    """Returns what the card of a task states; nothing of a task that is not installed here."""
    from avbench import registry

    entry = registry.entries("task").get(task)
    stated: Mapping[str, Mapping[str, Any]] = entry.card.get("units", {}) if entry else {}
    valid = [field.name for field in fields(Unit)]
    for name, values in stated.items():
        wrong = next((key for key in values if key not in valid), None)
        if wrong is not None:
            raise InputError(f"task '{task}': units of {name}: found '{wrong}', valid: {', '.join(valid)}.")
        if values.get("better", "higher") not in ("higher", "lower"):
            raise InputError(f"task '{task}': units of {name}: better: found {values['better']}, valid: higher, lower.")
    return {name: Unit(**values) for name, values in stated.items()}
