"""A cluster profile: what a cluster is asked for each job, written once as YAML and used by name."""

from __future__ import annotations

import dataclasses
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from avbench.errors import InputError, did_you_mean
from avbench.files.paths import expanded, home
from avbench.launch.container import KINDS
from avbench.settings import Settings, build, setting
from avbench.yaml_text import read_yaml

_TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<hours>\d+):(?P<minutes>\d\d)(?::(?P<seconds>\d\d))?", re.ASCII)
_LONGEST_TIME = 20  # characters, of 9999-23:59:59 and more
_EXAMPLE = "partition: gpu, gpus_per_node: 4, time: '20:00:00'"


@dataclass(frozen=True, kw_only=True)
class Profile(Settings):
    """What Slurm is asked for. Pretraining gets all of it; what follows is one process, with at most one GPU."""

    partition: str = setting("", "partition; empty: the cluster's default")
    account: str = setting("", "account that is charged")
    qos: str = setting("", "quality of service")
    constraint: str = setting("", "features that nodes must have")
    nodes: int = setting(1, "nodes of a pretraining", ge=1)
    gpus_per_node: int = setting(0, "GPUs of a node; 0: compute on CPUs", ge=0)
    processes_per_node: int = setting(0, "processes of a pretraining on a node; 0: one for each GPU", ge=0)
    cpus_per_process: int = setting(1, "cores of each process", ge=1)
    memory_gb: float = setting(0.0, "GiB of memory of a node; 0: the cluster's default", ge=0)
    time: str = setting("1:00:00", "longest wall time of a job, [days-]hours:minutes[:seconds], or minutes")
    array_parallelism: int = setting(64, "jobs of an array that run in parallel", ge=1)
    signal_seconds: int = setting(120, "seconds before the end at which a job saves its state and queues again", ge=1)
    timeouts: int = setting(100, "times that a job may run out of wall time and resume", ge=0)
    retries: int = setting(1, "times that a job that failed is queued again", ge=0)
    setup: tuple[str, ...] = setting((), "shell commands before each job, such as module load")
    container: str = setting("", "image that jobs run in: apptainer:FILE.sif or docker:IMAGE; empty: none")
    extra: tuple[str, ...] = setting((), "further options of sbatch, NAME=VALUE: mail-type=FAIL")

    def __post_init__(self) -> None:
        """Checks the fields, the time and the options.

        Raises:
            InputError: One of them cannot be used.
        """
        super().__post_init__()
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            for text in value if isinstance(value, tuple) else (value,):
                # One line each in a script of sbatch; a line of setup is a command, whose lines are its own.
                if isinstance(text, str) and field.name != "setup" and not text.isprintable():
                    raise InputError(f"{field.name}: found {text[:60]!a}, valid: one line of text.")
        if not self.minutes:
            raise InputError(f"time: found '{self.time}', valid: minutes, or [days-]hours:minutes[:seconds], above 0.")
        kind, _, image = self.container.partition(":")
        if self.container and (kind not in KINDS or not image):
            raise InputError(f"container: found '{self.container}', valid: apptainer:FILE.sif or docker:IMAGE.")
        for text in self.extra:
            if "=" not in text:
                raise InputError(f"extra: found '{text}', valid: NAME=VALUE, such as mail-type=FAIL.")

    @property
    def minutes(self) -> int:
        """The wall time, in whole minutes; 0 where it cannot be read."""
        if len(self.time) > _LONGEST_TIME:
            return 0
        if self.time.isascii() and self.time.isdigit():
            return int(self.time)
        match = _TIME.fullmatch(self.time)
        if match is None:
            return 0
        days, hours, minutes, seconds = (int(part or 0) for part in match.group("days", "hours", "minutes", "seconds"))
        return (days * 24 + hours) * 60 + minutes + -(-seconds // 60)

    @property
    def tasks_per_node(self) -> int:
        """Processes of a pretraining on each node."""
        return self.processes_per_node or max(1, self.gpus_per_node)

    @property
    def world(self) -> int:
        """Processes of a pretraining, on all nodes."""
        return self.nodes * self.tasks_per_node

    @property
    def device(self) -> Literal["cpu", "cuda"]:
        """Where jobs compute."""
        return "cuda" if self.gpus_per_node else "cpu"


def find_profile(name: str) -> Profile:
    """Reads a profile.

    Args:
        name: A YAML file, or the name of one in ``clusters/`` or in the user's configuration folder.

    Raises:
        InputError: There is none, or it cannot be used; the file and the key are named.
    """
    path = expanded(name)
    if path.suffix not in (".yaml", ".yml"):
        found = known_profiles()
        if name not in found:
            places = " or ".join(f"{folder}/{name}.yaml" for folder in _folders())
            raise InputError(
                f"--cluster {name}: no such profile.{did_you_mean(name, found)} Valid:"
                f" {', '.join(found) or 'none yet'}, or a YAML file; write {places}, with for example {_EXAMPLE}."
            )
        path = found[name]
    if not path.is_file():
        raise InputError(f"--cluster {name}: no such file.")
    values = read_yaml(path)
    try:
        if "time" in values and not isinstance(values["time"], str):  # YAML takes 1:30:00 for a number in base 60
            raise InputError(f"time: found the number {values['time']}, valid: text in quotes, such as '20:00:00'.")
        return build(Profile, values)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def known_profiles() -> dict[str, Path]:
    """Returns the profiles that can be named, with their files; those beside the project come first."""
    found: dict[str, Path] = {}
    for folder in _folders():
        for path in sorted(folder.glob("*.yaml")):
            found.setdefault(path.stem, path)
    return found


def _folders() -> tuple[Path, Path]:
    named = os.environ.get("XDG_CONFIG_HOME")
    return Path("clusters"), (Path(named) if named else home() / ".config") / "avbench" / "clusters"
