"""The clips that a task's annotations name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, eq=False)
class Annotated:
    """The clips that a task's annotations are of.

    Attributes:
        clips: Ids of those that are there.
        samples: How many annotations there are.
        missing: Annotations whose clip is not there.
        example: The id of one of the annotations.
    """

    clips: frozenset[str]
    samples: int
    missing: int
    example: str
