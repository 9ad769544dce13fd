"""The tests' own Slurm: it schedules, accounts and refuses as a real one does, and leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
import slurm_cluster
import slurm_settings
from slurm_cluster import Cluster

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


def test_an_array_and_one_that_waits_for_it_element_by_element(slurm: Cluster, tmp_path: Path) -> None:
    first = slurm.submit(f"echo $CUDA_VISIBLE_DEVICES > {tmp_path}/$SLURM_ARRAY_TASK_ID", "--array=0-2", "-G1")
    second = slurm.submit(f"cat {tmp_path}/$SLURM_ARRAY_TASK_ID", "--array=0-2", f"--dependency=aftercorr:{first}")
    jobs = [f"{job}_{index}" for job in (first, second) for index in range(3)]
    assert slurm.wait(lambda: all(slurm.accounted().get(job) == "COMPLETED" for job in jobs)), slurm.states()
    assert {(tmp_path / str(index)).read_text().strip() for index in range(3)} <= {"0", "1"}


def test_as_many_run_at_a_time_as_there_are_gpus(slurm: Cluster) -> None:
    jobs = [slurm.submit("sleep 60", "--gpus=1") for _ in range(3)]
    assert slurm.wait(lambda: [slurm.states()[job] for job in jobs].count("RUNNING") == 2)
    time.sleep(1)
    assert sorted(slurm.states()[job] for job in jobs) == ["PENDING", "RUNNING", "RUNNING"]
    slurm.run("scancel", *jobs)
    assert slurm.wait(lambda: all(slurm.states()[job] == "CANCELLED" for job in jobs))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--partition=none",), "invalid partition"),
        (("--account=none",), "Invalid account"),
        (("--qos=none",), "Invalid qos"),
        (("--partition=tiny", "--time=60"), "time limit"),
        (("--gpus=3",), "node configuration"),
        ((f"--array=0-{slurm_settings.MAX_ARRAY_SIZE}",), "array"),
    ],
)
def test_what_cannot_be_is_refused(slurm: Cluster, options: tuple[str, ...], reason: str) -> None:
    with pytest.raises(RuntimeError, match=f"(?i){reason}"):
        slurm.submit("true", *options)


def test_a_full_queue_refuses_until_a_job_ends(slurm: Cluster) -> None:
    limit = slurm_settings.SHORT_QOS_JOBS
    job = slurm.submit("sleep 60", "--qos=short", f"--array=0-{limit - 1}", "--hold")
    with pytest.raises(RuntimeError, match="job submit limit"):
        slurm.submit("true", "--qos=short")
    slurm.run("scancel", f"{job}_0")
    other = slurm.submit("true", "--qos=short")
    slurm.run("scancel", job)
    assert slurm.wait(lambda: slurm.states()[other] == "COMPLETED")


def test_a_preempted_job_gets_sigterm_and_starts_again(slurm: Cluster, tmp_path: Path) -> None:
    log = tmp_path / "log"
    low = slurm.submit(f"trap 'echo told >> {log}; exit' TERM; echo began >> {log}; sleep 60 & wait", "--exclusive")
    assert slurm.wait(log.exists)
    high = slurm.submit("sleep 1", "--partition=urgent", "--exclusive")
    assert slurm.wait(lambda: slurm.states()[high] == "COMPLETED")
    assert slurm.wait(lambda: log.read_text().split() == ["began", "told", "began"]), log.read_text()
    slurm.run("scancel", low)


def _command(process: int) -> bytes:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


def test_two_at_a_time_and_nothing_is_left(slurm: Cluster) -> None:
    other = Cluster()
    with other:
        folder = other.folder
        job = other.submit("trap '' TERM; sleep 600")
        assert other.env != slurm.env
        assert other.wait(lambda: any(b"sleep" in _command(process) for process in other.processes())), other.states()
        assert other.states() == {job: "RUNNING"}
    assert not folder.exists()
    listed = subprocess.run(("ps", "-eo", "args"), capture_output=True, text=True, check=True).stdout
    assert str(folder) not in listed
    assert slurm.run("sinfo", "-h", "-p", "main", "-o", "%a") == "up"


def test_what_killed_tests_left_is_cleared_by_the_next_start(slurm: Cluster) -> None:
    code = (
        f"import os, sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from slurm_cluster import Cluster\n"
        "cluster = Cluster(); cluster.start(); print(cluster.folder, flush=True)\n"
        "job = cluster.submit('trap \"\" TERM; sleep 600')\n"
        "cluster.wait(lambda: cluster.states()[job] == 'RUNNING')\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run((sys.executable, "-c", code), capture_output=True, text=True, check=False)
    folder = Path(done.stdout.strip())
    assert folder.is_dir()
    with Cluster():
        assert not folder.exists()
        listed = subprocess.run(("ps", "-eo", "args"), capture_output=True, text=True, check=True).stdout
        assert str(folder) not in listed
    assert slurm.run("sinfo", "-h", "-p", "main", "-o", "%a") == "up"


def test_a_start_that_fails_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    if slurm_cluster.missing():
        pytest.skip(slurm_cluster.missing())
    monkeypatch.setattr(slurm_settings, "slurmdbd_conf", lambda *_: "AuthType=auth/munge\nStorageType=none\n")
    cluster = Cluster()
    before = set(Path("/tmp").glob("avslurm-*"))
    with pytest.raises(RuntimeError, match=r"(?s)slurmdbd did not start; its log ends: .*none"):
        cluster.start()
    assert set(Path("/tmp").glob("avslurm-*")) <= before
    assert cluster.processes() == []
