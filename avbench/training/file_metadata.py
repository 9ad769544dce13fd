"""What a safetensors file says of itself, read without its tensors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from avbench.errors import InputError
from avbench.files import parse_json


def read_metadata(path: Path, key: str) -> dict[str, Any]:
    """Returns the JSON object under a key of a file's metadata; without that key, an empty one.

    Raises:
        InputError: It is no safetensors file, or what is under the key is no JSON object.
    """
    from safetensors import safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            text: str = (file.metadata() or {}).get(key, "{}")
        text.encode()
    except Exception:  # of a malformed header, or one that asks for terabytes
        raise InputError(f"{path}: found a damaged or truncated safetensors file.") from None
    found: dict[str, Any] = parse_json(text.encode(), path)
    return found
