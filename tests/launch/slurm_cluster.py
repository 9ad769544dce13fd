"""A real Slurm for tests: munge, MariaDB, slurmdbd, slurmctld and one slurmd, all state in one temporary folder.

Nothing of the system's own Slurm, munge or MariaDB is read, written, started or stopped. It needs root and the Debian
packages ``slurm-wlm munge slurmdbd mariadb-server``, but no systemd.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import slurm_settings as settings

_SYSTEM = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PROGRAMS = (
    *("slurmctld", "slurmd", "slurmdbd", "sbatch", "squeue", "sacct", "sacctmgr", "scancel", "scontrol", "sinfo"),
    *("munged", "mungekey", "munge", "mariadbd", "mariadb-install-db", "setpriv"),
)
_START_S = 60.0
_PARENT, _PREFIX = Path("/tmp"), "avslurm-"  # a socket's path has 108 letters at most
_OWNER = "owner"  # locked as long as the process lives that started the cluster


def missing() -> str:
    """Why no cluster can be started here; empty where one can."""
    if not sys.platform.startswith("linux"):
        return "Slurm runs on Linux only"
    if os.geteuid() != 0:
        return "starting Slurm's daemons needs root"
    lacking = [name for name in _PROGRAMS if _program(name) is None]
    if lacking:
        return f"no {', '.join(lacking)} here (Debian: slurm-wlm munge slurmdbd mariadb-server)"
    return ""


def _program(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", ""), _SYSTEM)))


class Cluster:
    """One node, ``gpus`` pretended GPUs, the partitions, account and qos of ``slurm_settings``.

    Use it as a context manager, or call :meth:`stop` whatever happens. Several may run at a time on one machine.

    Args:
        cpus: CPUs the node claims; None: the machine's, at least 4.
        gpus: Jobs with ``--gpus-per-node=1`` that run at a time.
        memory: MB the node claims.
    """

    def __init__(self, cpus: int | None = None, gpus: int = 2, memory: int = 64_000) -> None:
        self.cpus = max(os.cpu_count() or 1, 4) if cpus is None else cpus
        self.gpus = gpus
        self.memory = memory
        self.folder = Path()
        self._daemons: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Cluster:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def env(self) -> dict[str, str]:
        """The variables by which Slurm's commands, and submitit, find this cluster."""
        return {"SLURM_CONF": str(self.folder / "slurm.conf")}

    def start(self) -> None:
        """Returns when the node takes jobs.

        Raises:
            RuntimeError: A daemon did not start; all that did are stopped. It has the end of its log.
        """
        if self._daemons:
            raise RuntimeError("this cluster runs already")
        try:
            with _starting():
                self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_PARENT))
                self._owner = (self.folder / _OWNER).open("wb")
                fcntl.flock(self._owner, fcntl.LOCK_EX)
                self._start()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Kills all daemons, jobs and what these left behind, and deletes the folder."""
        if self.folder == Path():
            return
        for name in reversed(list(self._daemons)):
            self._daemons[name].kill()  # nothing of theirs is kept, and their own way takes seconds
            self._daemons.pop(name).wait()
        _clear(self.folder)
        self._owner.close()
        self.folder = Path()

    def processes(self) -> list[int]:
        """Daemons, job steps and jobs of this cluster, and what a test started with its SLURM_CONF."""
        return _processes(self.folder)

    def run(self, *words: str, check: bool = True, timeout: float = 60) -> str:
        """What a Slurm command printed; stderr too unless it succeeds.

        Raises:
            RuntimeError: It failed and ``check`` is true.
        """
        program = _program(words[0])
        if program is None:
            raise RuntimeError(f"no {words[0]} here")
        done = subprocess.run(
            (program, *words[1:]), env=_bare(self.env), capture_output=True, text=True, timeout=timeout, check=False
        )
        if done.returncode and check:
            raise RuntimeError(f"{' '.join(words)}: exit status {done.returncode}; {done.stderr.strip()}")
        return (done.stdout if done.returncode == 0 else done.stdout + done.stderr).strip()

    def submit(self, command: str, *options: str) -> str:
        """Gives sbatch a shell command and returns the job's number.

        Raises:
            RuntimeError: sbatch refused it.
        """
        return self.run("sbatch", "--parsable", f"--output={self.folder}/%j.out", *options, f"--wrap={command}")

    def states(self) -> dict[str, str]:
        """Job id, of arrays NUMBER_INDEX, to state such as PENDING, RUNNING, COMPLETED, FAILED or CANCELLED."""
        # The controller knows first, accounting knows longer.
        states = self.accounted()
        for line in self.run("squeue", "-h", "-r", "-t", "all", "-o", "%i|%T").splitlines():
            job, _, state = line.partition("|")
            states[job] = state
        return states

    def accounted(self) -> dict[str, str]:
        """As :meth:`states`, as sacct has it: without the elements of arrays that have not begun."""
        printed = self.run("sacct", "-X", "-n", "-P", "-S", "now-1day", "-o", "JobID,State")
        rows = (line.split("|") for line in printed.splitlines())
        return {job: state.split()[0] for job, state in rows if "[" not in job}

    def wait(self, predicate: Callable[[], object], seconds: float = 60) -> bool:
        """Whether ``predicate`` came true within so many seconds."""
        return _until(predicate, seconds)

    def lose_node(self) -> None:
        """Kills the node's daemon and its jobs at once, as of a machine without power, and says that it is down."""
        others = {daemon.pid for name, daemon in self._daemons.items() if name != "slurmd"}
        for process in set(self.processes()) - others:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self._daemons.pop("slurmd").wait()
        self.run("scontrol", "update", f"NodeName={_host()}", "State=DOWN", "Reason=vanished")

    def find_node(self) -> None:
        """Brings the node back."""
        self.run("scontrol", "update", f"NodeName={_host()}", "State=RESUME")
        self._start_node()

    def _start(self) -> None:
        folder, host = self.folder, _host()
        ports = settings.Ports(*_free_ports(4))
        password = secrets.token_hex(8)
        folder.chmod(0o755)
        for name in ("state", "spool", "database"):
            (folder / name).mkdir()
        for number in range(self.gpus):
            (folder / f"gpu{number}").symlink_to("/dev/null")  # must be a device
        texts = {
            "slurm.conf": settings.slurm_conf(folder, host, ports, self.cpus, self.gpus, self.memory),
            "slurmdbd.conf": settings.slurmdbd_conf(folder, host, ports, password),
            "gres.conf": settings.gres_conf(folder, self.gpus),
            "database.sql": settings.database_sql(password),
        }
        for name, text in texts.items():
            (folder / name).write_text(text)
        (folder / "slurmdbd.conf").chmod(0o600)
        self._start_munge()
        self._start_database(ports)
        self._daemon("slurmdbd", "-D")
        self._ready("slurmdbd", lambda: _listens(ports.slurmdbd))
        for words in settings.ACCOUNTS:
            self.run("sacctmgr", "-i", *words)
        self._daemon("slurmctld", "-D", "-i")
        self._ready("slurmctld", lambda: _listens(ports.slurmctld))
        self._start_node()

    def _start_node(self) -> None:
        self._daemon("slurmd", "-D", "-N", _host())
        self._ready("slurmd", lambda: self.run("sinfo", "-h", "-p", "main", "-o", "%T", check=False) == "idle")

    def _start_munge(self) -> None:
        key, folder = self.folder / "munge.key", self.folder
        self.run("mungekey", "--create", f"--keyfile={key}")
        names = ("socket", "pid", "log", "seed")
        places = (f"--{name}{'' if name == 'socket' else '-file'}={folder}/munge.{name}" for name in names)
        self._daemon("munged", "--foreground", "--force", f"--key-file={key}", *places)
        self._ready("munged", lambda: self.run("munge", "-n", f"--socket={folder}/munge.socket"))

    def _start_database(self, ports: settings.Ports) -> None:
        words = settings.database_words(self.folder, ports)
        self.run("mariadb-install-db", *words, "--auth-root-authentication-method=normal", "--skip-test-db")
        self._daemon("mariadbd", *words, f"--init-file={self.folder}/database.sql")
        self._ready("mariadbd", lambda: _listens(ports.mariadb))

    def _daemon(self, name: str, *words: str) -> None:
        program, guard = _program(name), _program("setpriv")
        if program is None or guard is None:
            raise RuntimeError(f"no {name} or no setpriv here")
        with (self.folder / f"{name}.out").open("wb") as log:
            # Tests that are killed must leave no daemon behind.
            self._daemons[name] = subprocess.Popen(
                (guard, "--pdeathsig", "KILL", program, *words),
                env=_bare(self.env),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _ready(self, name: str, test: Callable[[], object]) -> None:
        def settled() -> bool:
            if self._daemons[name].poll() is not None:
                return True
            try:
                return bool(test())
            except RuntimeError:
                return False

        if not _until(settled, _START_S) or self._daemons[name].poll() is not None:
            log = (self.folder / f"{name}.out").read_text(errors="replace").strip()
            raise RuntimeError(f"{name} did not start; its log ends: {log[-1000:]}")


def _host() -> str:
    return socket.gethostname().split(".")[0]


@contextlib.contextmanager
def _starting() -> Iterator[None]:
    """One start at a time on a machine, so that no two find the same ports free; clears what killed tests left."""
    with (_PARENT / "avbench-slurm.lock").open("wb") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        for owner in _PARENT.glob(f"{_PREFIX}*/{_OWNER}"):
            with contextlib.suppress(OSError), owner.open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _clear(owner.parent)
        yield


def _clear(folder: Path) -> None:
    def killed() -> bool:
        found = _processes(folder)
        for process in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        return not found

    _until(killed, 10)
    shutil.rmtree(folder, ignore_errors=True)


def _processes(folder: Path) -> list[int]:
    """Those that were started with the folder's SLURM_CONF, and their children; not this one."""
    word = f"SLURM_CONF={folder / 'slurm.conf'}".encode()
    parents: dict[int, int] = {}
    found: set[int] = set()
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit():
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                if state != "Z":
                    parents[int(entry.name)] = int(parent)
                    if word in (entry / "environ").read_bytes().split(b"\0"):
                        found.add(int(entry.name))
    found.discard(os.getpid())
    while grown := {process for process, parent in parents.items() if parent in found} - found:
        found |= grown
    return sorted(found)


def _free_ports(count: int) -> list[int]:
    """Ports below those that the kernel gives out by itself."""
    found: list[int] = []
    while len(found) < count:
        port = random.SystemRandom().randrange(20_000, 30_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in found:
                found.append(port)
    return found


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _until(predicate: Callable[[], object], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not predicate():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def _bare(extra: dict[str, str]) -> dict[str, str]:
    """This process's variables without those of a Slurm job that the tests may run in."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SBATCH", "SQUEUE"))}
    kept["PATH"] = os.pathsep.join((kept.get("PATH", ""), _SYSTEM)).strip(os.pathsep)
    return kept | extra
