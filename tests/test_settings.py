"""Settings refuse what they do not know, whatever way it comes in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest

from avbench.errors import InputError
from avbench.settings import Settings, build, change, setting, to_dict


@dataclass(frozen=True, kw_only=True)
class Inner(Settings):
    rate: float = setting(0.5, "a share", ge=0, le=1)


@dataclass(frozen=True, kw_only=True)
class Outer(Settings):
    steps: int = setting(10, "a count", ge=1)
    kind: Literal["adam", "adamw"] = setting("adam", "a choice")
    pair: tuple[float, float] = setting((0.9, 0.99), "two numbers", ge=0, lt=1)
    note: str | None = setting(None, "text or nothing")
    loud: bool = setting(False, "a switch")
    workers: int = setting(0, "outside the identity", identity=False)
    inner: Inner = setting(Inner(), "nested")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"stps": 3}, ("unknown key 'stps'", "Did you mean 'steps'?", "Valid:")),
        ({"steps": 0}, ("steps", "found 0", "at least 1")),
        ({"steps": 1.5}, ("steps", "1.5", "a whole number")),
        ({"steps": True}, ("steps", "found true", "a whole number")),
        ({"loud": 1}, ("loud", "true or false")),
        ({"kind": "adm"}, ("kind", "'adm'", "adam, adamw", "Did you mean 'adam'?")),
        ({"pair": [0.9]}, ("pair", "found 1 value,", "valid: 2")),
        ({"pair": [0.9, 1.0]}, ("pair", "below 1")),
        ({"inner": {"rate": 2}}, ("inner.rate", "at most 1")),
        ({"inner": {"rat": 2}}, ("inner.rat", "Did you mean 'rate'?")),
        ({"note": 3}, ("note", "text or null")),
    ],
)
def test_wrong_values_name_the_key_and_what_is_valid(values: dict[str, object], words: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as caught:
        change(Outer(), values)
    for word in words:
        assert word in str(caught.value)


def test_the_section_is_part_of_the_key_in_an_error() -> None:
    with pytest.raises(InputError, match=r"train\.steps"):
        build(Outer, {"steps": 0}, "train")


def test_constructing_directly_checks_too() -> None:
    with pytest.raises(InputError):
        Outer(steps=-1)


def test_numbers_written_as_text_by_yaml_are_numbers() -> None:
    assert change(Outer(), {"inner": {"rate": "1e-1"}}).inner.rate == 0.1
    assert isinstance(change(Outer(), {"pair": [0, 0]}).pair[0], float)


def test_round_trip_and_identity() -> None:
    settings = Outer(steps=3, inner=Inner(rate=0.25), workers=7)
    assert build(Outer, to_dict(settings)) == settings
    assert "workers" not in to_dict(settings, identity_only=True)
    assert to_dict(settings, identity_only=True)["inner"] == {"rate": 0.25}
