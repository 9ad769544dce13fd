"""The configuration of a test's cluster: one node that stands for two GPUs, one user, three partitions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

# Partitions, accounts and qualities of service that tests may name.
PARTITIONS = ("main", "tiny", "urgent")
ACCOUNT = "research"
QOS = ("normal", "short")
SHORT_QOS_JOBS = 4  # an array counts as many as it has elements
MAX_ARRAY_SIZE = 51  # the largest index is one less
CLUSTER = "avbench"
DATABASE = "slurm_acct_db"


@dataclass(frozen=True)
class Ports:
    """Where each daemon listens, on 127.0.0.1."""

    mariadb: int
    slurmdbd: int
    slurmctld: int
    slurmd: int


def slurm_conf(folder: Path, host: str, ports: Ports, cpus: int, gpus: int, memory: int) -> str:
    """The controller's and the node's file; ``cpus`` and ``memory`` (MB) may exceed the machine's."""
    # cred_expire is also how long a requeued job waits (default 120 s, at least 5).
    return f"""\
ClusterName={CLUSTER}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports.slurmctld}
SlurmdPort={ports.slurmd}
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
MailProg=/bin/true
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
PriorityType=priority/basic
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmdParameters=config_overrides
ReturnToService=2
JobRequeue=1
KillWait=2
CompleteWait=0
EnforcePartLimits=ALL
MaxArraySize={MAX_ARRAY_SIZE}
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={ports.slurmdbd}
AccountingStoragePass={folder}/munge.socket
AccountingStorageEnforce=associations,limits,qos
AccountingStorageTRES=gres/gpu
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} Gres=gpu:{gpus} State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=7-0 DefMemPerCPU=100 PriorityTier=1 PreemptMode=REQUEUE
PartitionName=tiny Nodes={host} MaxTime=5 MaxCPUsPerNode=1 DefMemPerCPU=100 MaxMemPerNode=500 PriorityTier=1
PartitionName=urgent Nodes={host} MaxTime=7-0 DefMemPerCPU=100 PriorityTier=10 PreemptMode=OFF
"""


def slurmdbd_conf(folder: Path, host: str, ports: Ports, password: str) -> str:
    """The accounting daemon's file."""
    return f"""\
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
DbdHost={host}
DbdAddr=127.0.0.1
DbdPort={ports.slurmdbd}
SlurmUser=root
PidFile={folder}/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={ports.mariadb}
StorageUser=slurm
StoragePass={password}
StorageLoc={DATABASE}
"""


def gres_conf(folder: Path, gpus: int) -> str:
    """Devices that stand for GPUs; their numbers become CUDA_VISIBLE_DEVICES."""
    return f"Name=gpu File={folder}/gpu[0-{gpus - 1}]\n"


def database_sql(password: str) -> str:
    """What the database server does when it starts, one statement a line."""
    return (
        f"CREATE DATABASE {DATABASE};\n"
        f"CREATE USER 'slurm'@'127.0.0.1' IDENTIFIED BY '{password}';\n"
        f"GRANT ALL ON {DATABASE}.* TO 'slurm'@'127.0.0.1';\n"
    )


def database_words(folder: Path, ports: Ports) -> tuple[str, ...]:
    """Options of the database server: small, and not safe against a power failure, which makes it start sooner."""
    return (
        "--no-defaults",
        "--user=root",
        f"--datadir={folder}/database",
        f"--tmpdir={folder}",
        f"--socket={folder}/database.socket",
        f"--pid-file={folder}/mariadb.pid",
        "--bind-address=127.0.0.1",
        f"--port={ports.mariadb}",
        "--skip-name-resolve",
        "--skip-log-bin",
        "--innodb-buffer-pool-size=32M",
        "--innodb-log-file-size=16M",
        "--innodb-flush-log-at-trx-commit=0",
        "--innodb-flush-method=nosync",
        "--innodb-doublewrite=0",
        "--innodb-lock-wait-timeout=900",
    )


ACCOUNTS = (
    ("add", "cluster", CLUSTER),
    ("add", "account", ACCOUNT, f"Cluster={CLUSTER}", "Description=tests", "Organization=tests"),
    ("add", "qos", "short", f"MaxSubmitJobsPerUser={SHORT_QOS_JOBS}"),
    ("add", "user", "root", f"Account={ACCOUNT}", f"Cluster={CLUSTER}", f"DefaultAccount={ACCOUNT}"),
    ("modify", "user", "where", "name=root", f"account={ACCOUNT}", "set", f"QOS={','.join(QOS)}", "DefaultQOS=normal"),
    ("modify", "user", "where", "name=root", f"cluster={CLUSTER}", "set", f"DefaultAccount={ACCOUNT}"),
)
