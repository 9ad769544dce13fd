"""The one reader of YAML: plain values, and every line that would be read otherwise than it looks is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from avbench.errors import InputError
from avbench.yaml_text import NotYaml, parse_yaml, read_yaml

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(12)
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("train:\n  steps: 5\ntrain:\n  lr: 0.1\n", "line 3: found 'train' a second time (first in line 1)"),
        ('{steps: 1, "steps": 2}', "line 1: found 'steps' a second time"),
        ("{1: a, '1': b}", "found '1' a second time"),
        ("a: !!int x", "found the tag !!int"),
        ("a: !!python/object/apply:os.getcwd []", "found the tag !!python/object/apply:os.getcwd"),
        ("a: !!timestamp 2001-99-99", "found the tag !!timestamp"),
        ("a: " + "7" * 5000, "valid: whole numbers below"),
        ("a: 0x" + "f" * 5000, "valid: whole numbers below"),
        ("? [1, 2]\n: 3", "found a list or mapping as a key, valid: text"),
        ("&a [*a]", "found *a, valid: a name that &a gave before"),
        ("[" * 60 + "]" * 60, "nested more than 50 deep"),
        ("[" * 200_000, "not YAML"),
        ("- " * 200_000, "nested more than 50 deep"),
        (BOMB, "found more than 1000000 values"),
        ("a: 1\n---\nb: 1", "line 2: found a second document"),
        ("<<: 3", "found '<<' with a number"),
        ("a: '", "not YAML"),
        ("\udcff", "not YAML"),
        ("a\0", "not YAML"),
    ],
)
def test_what_is_not_plain_yaml_is_refused_with_its_line(text: str, told: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_yaml(text, "f.yaml")
    message = str(caught.value)
    assert message.startswith("f.yaml: ")
    assert told in message
    assert "\n" not in message
    assert len(message) < 400


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2001-99-99", "2001-99-99"),  # nothing here takes a date
        ("{1: 2, on: 3, null: 4}", {"1": 2, "on": 3, "null": 4}),  # keys are text as it is written
        ("=", "="),
        ("[.5, 1_000, 0x10, true, ~, '1', 1e-4]", [0.5, 1000, 16, True, None, "1", "1e-4"]),
        ("{a: &x {b: 1, c: 2}, d: {<<: *x, c: 3}}", {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}}),
        ("", None),
    ],
)
def test_plain_values(text: str, value: object) -> None:
    assert parse_yaml(text, "--set x") == value


def test_no_yaml_at_all_can_be_told_from_the_rest() -> None:
    with pytest.raises(NotYaml):
        parse_yaml("a: b: c", "--set x")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "no such file"),
        (b"\xff\xfe\x00", "cannot be read"),
        (b"- 1\n", "found a list, valid: a mapping"),
        (b"", "found nothing, valid: a mapping"),
    ],
)
def test_files_that_hold_no_mapping_are_refused(tmp_path: Path, content: bytes | None, told: str) -> None:
    path = tmp_path / "c.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=told):
        read_yaml(path)
