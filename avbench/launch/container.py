"""Jobs in a container: the command line by which Apptainer or Docker runs ``avbench`` on the folders a job needs.

The image holds Python, the packages and avbench. Everything else is outside and has the same path inside: the working
folder (with ``results`` by default), the cache, and whatever a word of the command names (data, a checkpoint).
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from avbench.data.locate import cache_folder
from avbench.errors import InputError
from avbench.files.paths import expanded
from avbench.processes import CODE

if TYPE_CHECKING:
    from avbench.launch.job import Job

KINDS = ("apptainer", "docker")
_REMOTE = ("docker://", "oras://", "library://", "shub://")  # images that Apptainer fetches
# What a process is told of its job, its companions and its accounts; Docker passes nothing by itself.
_PASSED = ("SLURM_", "MASTER_", "WORLD_SIZE", "RANK", "LOCAL_", "CUDA_", "NCCL_", "OMP_", "HF_", "WANDB_", CODE)
_GPUS = ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_GPUS", "SLURM_STEP_GPUS")  # one of them is set where a job has some


def check(container: str, key: str) -> None:
    """Checks that a profile's image is there.

    Args:
        container: ``apptainer:FILE.sif``, ``docker:IMAGE``, or nothing.
        key: What to name in messages.

    Raises:
        InputError: It is a file, and is not.
    """
    kind, _, image = container.partition(":")
    if kind == "apptainer" and not image.startswith(_REMOTE) and not expanded(image).exists():
        raise InputError(
            f"{key}: container: no such file {image}; build it with apptainer build {image} containers/avbench.def."
        )


def has_gpus(variables: Mapping[str, str]) -> bool:
    """Returns whether the scheduler gave this process GPUs."""
    return any(variables.get(name) for name in _GPUS)


def words(container: str, arguments: Sequence[str], *, gpus: bool, variables: Mapping[str, str]) -> list[str]:
    """Returns the command line that runs ``avbench`` in a container.

    Args:
        container: ``apptainer:FILE.sif`` or ``docker:IMAGE``.
        arguments: What follows ``avbench``.
        gpus: Whether it is to see the GPUs.
        variables: The environment it is started in.

    Raises:
        InputError: A folder has a name that cannot be handed over.
    """
    kind, _, image = container.partition(":")
    here, folders = str(Path.cwd()), mounts(arguments)
    # Packages of the machine outside are of another Python; those of the image count.
    given = {"AVBENCH_CACHE": str(cache_folder().absolute()), "PYTHONPATH": "", "PYTHONNOUSERSITE": "1"}
    if kind == "apptainer":
        options = [*(["--nv"] if gpus else []), "--pwd", here]
        options += [word for folder in folders for word in ("--bind", folder)]
        options += [word for name, value in given.items() for word in ("--env", f"{name}={value}")]
        image = image if image.startswith(_REMOTE) else str(expanded(image).absolute())
        return ["apptainer", "exec", *options, image, "avbench", *arguments]
    options = ["--rm", *(["--gpus", "all"] if gpus else []), "--network", "host", "--ipc", "host", "--pid", "host"]
    options += ["--user", f"{os.getuid()}:{os.getgid()}", "--workdir", here]
    options += [word for folder in folders for word in ("--volume", f"{folder}:{folder}")]
    given["HOME"] = given["AVBENCH_CACHE"]  # the user's is not there, and root's is not to be written
    options += [word for name, value in given.items() for word in ("--env", f"{name}={value}")]
    passed = sorted(name for name in variables if name.startswith(_PASSED))
    options += [word for name in passed for word in ("--env", name)]
    return ["docker", "run", *options, "--entrypoint", "avbench", image, *arguments]


def show(container: str, jobs: Sequence[Job], *, gpus: bool) -> str:
    """Returns how the first of some jobs is started in a container, as a line; nothing where there are none.

    Args:
        container: See :func:`words`.
        jobs: The jobs.
        gpus: Whether the cluster gives them some.
    """
    lines = [shlex.join(words(container, job.arguments, gpus=gpus, variables={})) for job in jobs[:1]]
    return "".join(f"in a container, each like the first: {line}\n" for line in lines)


def mounts(arguments: Sequence[str]) -> list[str]:
    """Returns the folders that a command works in and names, none within another.

    Raises:
        InputError: One has a name that cannot be handed over.
    """
    found = {Path.cwd(), cache_folder().absolute()}
    for argument in arguments:
        for word in (argument, argument.partition("=")[2]):
            path = expanded(word.partition(":")[0] if ".py:" in word else word)
            if "/" in word and (path.is_absolute() or path.exists()):
                found |= {_folder(path.absolute()), _folder(path.resolve())}
    outer = {path for path in found if not any(other in path.parents for other in found)} - {Path("/")}
    wrong = next((path for path in sorted(outer) if set(str(path)) & set(":,")), None)
    if wrong is not None:
        raise InputError(f"{wrong}: found ':' or ',' in its name, valid: a folder without, for a job in a container.")
    return sorted(map(str, outer))


def _folder(path: Path) -> Path:
    """Returns the nearest folder there is: itself, or above a file or what is yet to be written."""
    while not path.is_dir():
        path = path.parent
    return path
