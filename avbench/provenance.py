"""Where a result came from: code, versions and hardware."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

from avbench.files import sha256_file, sha256_text

PACKAGES = ("avbench", "torch", "torchaudio", "torchvision", "timm", "numpy", "av", "pandas", "safetensors")


@functools.cache
def code_sha256() -> str:
    """Returns the hash of the package's source: two records that differ in it came from different code."""
    root = Path(__file__).parent
    files = sorted(root.rglob("*.py"))
    return sha256_text("\n".join(f"{path.relative_to(root).as_posix()} {sha256_file(path)}" for path in files))


def _git(*arguments: str) -> str | None:
    root = Path(__file__).parent.parent
    if not (root / ".git").exists():
        return None
    try:
        answer = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout


def git_state() -> dict[str, Any]:
    """Returns the commit, whether tracked files differ from it, and the hash of that difference."""
    commit = _git("rev-parse", "HEAD")
    diff = _git("diff", "HEAD") or ""
    return {
        "commit": commit.strip() if commit else None,
        "dirty": bool(diff),
        "diff_sha256": sha256_text(diff) if diff else None,
    }


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
