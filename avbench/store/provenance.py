"""Where a result came from: code, versions and hardware."""

from __future__ import annotations

import functools
import json
import os
import platform
import subprocess
import urllib.parse
import urllib.request
from importlib import metadata
from pathlib import Path
from typing import Any

from avbench.files import sha256_text
from avbench.processes import code_sha256, package_sha256

PACKAGES = ("avbench", "torch", "torchaudio", "torchvision", "timm", "numpy", "av", "pandas", "safetensors")


def _git(*arguments: str, root: Path | None = None) -> str | None:
    root = root or Path(__file__).parent.parent.parent
    if not (root / ".git").exists():
        return None
    try:
        answer = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout


@functools.cache
def git_state() -> dict[str, Any]:
    """Returns the commit of the code, whether it differs from it, and how that is known.

    Returns:
        ``commit``; ``dirty`` and ``diff_sha256``, where tracked files differ or there are further Python files;
        ``from``: ``checkout`` (the code runs there), ``installed from its repository`` (the commit that pip was given),
        ``installed from a checkout`` (one that still holds the same code), or ``installed``: the commit is unknown, and
        the version and the hash of the code say what it is.
    """
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return _installed()
    diff = (_git("diff", "HEAD") or "") + (_git("ls-files", "--others", "--exclude-standard", "avbench/*.py") or "")
    return {
        "commit": commit.strip(),
        "dirty": bool(diff),
        "diff_sha256": sha256_text(diff) if diff else None,
        "from": "checkout",
    }


def _installed() -> dict[str, Any]:
    """Returns what pip noted of where the installed package comes from (PEP 610)."""
    found: dict[str, Any] = {"commit": None, "dirty": False, "diff_sha256": None, "from": "installed"}
    try:
        noted = json.loads(metadata.distribution("avbench").read_text("direct_url.json") or "{}")
        commit = noted.get("vcs_info", {}).get("commit_id")
        url = urllib.parse.urlsplit(str(noted.get("url", "")))
    except (metadata.PackageNotFoundError, ValueError, AttributeError):
        return found
    if commit:
        return {**found, "commit": str(commit), "from": "installed from its repository"}
    root = Path(urllib.request.url2pathname(url.path)) if url.scheme == "file" else None
    # A folder may have moved on since: its commit is this code's only where it holds the same code.
    if root is not None and (root / "avbench").is_dir() and package_sha256(root / "avbench") == code_sha256():
        commit = _git("rev-parse", "HEAD", root=root)
        if commit is not None:
            dirty = bool(_git("status", "--porcelain", "--", "avbench", root=root))
            return {**found, "commit": commit.strip(), "dirty": dirty, "from": "installed from a checkout"}
    return found


def versions() -> dict[str, str]:
    """Returns the installed version of each package that can change a number."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def hardware(device: str) -> dict[str, Any]:
    """Returns processor, cores and memory, and the GPU's name where ``device`` is one."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    found: dict[str, Any] = {
        "device": device,
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": round(memory, 1),
        "host": platform.node(),
    }
    if device.startswith("cuda"):
        import torch

        found["gpu"] = torch.cuda.get_device_name(device)
    return found
