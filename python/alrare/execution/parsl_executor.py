"""Tasks in the jobs of a batch system, by Parsl's HighThroughputExecutor (pilot jobs).

A job runs workers that serve many tasks. All state is with the driver; workers need the package and
the file system only. Tasks that are queued or run when the driver ends are lost with their jobs,
which are canceled: at the end of the driver, or at its next start if it was killed.
"""

import importlib.util
import logging
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from ..config import Cluster, Machines
from ..errors import AlrareError, ConfigError
from ..files import read_json, write_json
from ..processes import ONE_THREAD
from .executor import KINDS, Kind
from .remote import Call, Repeated, perform

if TYPE_CHECKING:
    from parsl.config import Config
    from parsl.executors import HighThroughputExecutor

STATE_FILE = "jobs.json"
"""File name of what `alrare status` shows of the jobs, and of the jobs that are to be canceled."""
_POLL = 2.0
_HEARTBEAT, _SILENCE = 10, 60  # s
_PROVIDERS = {
    "SlurmProvider": "slurm",
    "PBSProProvider": "pbs",
    "LSFProvider": "lsf",
    "LocalProvider": "local",
}
"""What Parsl calls them."""
_ADVICE = (
    "if tasks need longer than `walltime`, or more memory, ask for it ([cluster]); then run the"
    " same command again: what had finished is kept"
)


class ParslExecutor:
    """Tasks of the kinds that `[cluster]` has machines for; use it in a `with` block.

    Parameters
    ----------
    cluster : Cluster
        The `[cluster]` table.
    workers : int
        Tasks at a time of the kinds that run here.
    folder : Path
        Receives Parsl's own files and `STATE_FILE`.
    """

    def __init__(self, cluster: Cluster, workers: int, folder: Path) -> None:
        self._workers, self._folder = workers, folder
        config = _own_config(cluster, folder) or _config(cluster, folder)
        self._executors: dict[str, Any] = {str(one.label): one for one in config.executors}
        self._config = config
        self._repeated: dict[str, Repeated] = {}
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "ParslExecutor":
        from parsl.dataflow.dflow import DataFlowKernel

        cancel_left(self._folder / STATE_FILE)
        # Parsl's programs lie beside this Python, whose environment need not be active.
        os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        logging.getLogger("parsl").setLevel(logging.ERROR)
        self._kernel = DataFlowKernel(self._config)
        for kind in self._executors:
            self._repeated[kind] = Repeated(
                partial(self._submit, kind),
                partial(_meaning, kind),
                _ADVICE,
            )
            self._executors[kind].block_error_handler = partial(_judge_jobs, self._repeated[kind])
        self._watcher.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """Cancel all jobs."""
        self._ended.set()
        self._watcher.join()
        self._kernel.cleanup()
        self._write_state(jobs={})

    def size(self, kind: Kind) -> int:
        """See `Executor`."""
        if self.is_here(kind):
            return self._workers
        executor = self._executors[kind]
        provider = executor.provider
        per_node = int(min(executor.max_workers_per_node, 1024))
        return max(1, int(provider.max_blocks * provider.nodes_per_block * per_node))

    def is_here(self, kind: Kind) -> bool:
        """See `Executor`."""
        return kind not in self._executors

    def submit(self, kind: Kind, function: Callable[..., Any], *args: Any) -> Future[Any]:
        """See `Executor`."""
        return self._repeated[kind].submit(function, *args)

    def _submit(self, kind: str, call: Call) -> Future[Any]:
        future: Future[Any] = self._kernel.submit(
            perform, app_args=(call,), executors=[kind], cache=False, ignore_for_cache=None,
            app_kwargs={},
        )  # fmt: skip
        return future

    def _watch(self) -> None:
        while not self._ended.wait(_POLL):
            self._write_state(jobs=self._jobs())

    def _jobs(self) -> dict[str, dict[str, Any]]:
        """Return id, state and last message of each job, by kind and number of the block."""
        found = {}
        for kind, executor in self._executors.items():
            ids = dict(executor.blocks_to_job_id)
            provider = _PROVIDERS.get(type(executor.provider).__name__, "")
            for block, status in dict(executor.status()).items():
                said = status.message or status.stderr_summary or ""
                found[f"{kind} {block}"] = {
                    "provider": provider,
                    "id": str(ids.get(block, "")),
                    "state": status.state.name.lower(),
                    "message": said.strip().splitlines()[-1] if said.strip() else "",
                }
        return found

    def _write_state(self, jobs: dict[str, dict[str, Any]]) -> None:
        tasks = {
            kind: {"waiting": one.waiting, "done": one.done, "workers lost": one.losses}
            for kind, one in self._repeated.items()
        }
        running = {
            kind: executor.connected_managers() if self._repeated[kind].waiting else []
            for kind, executor in self._executors.items()
            if jobs
        }
        for kind, managers in running.items():
            tasks[kind]["running"] = sum(int(one["tasks"]) for one in managers)
        write_json(self._folder / STATE_FILE, {"time": time.time(), "tasks": tasks, "jobs": jobs})


def _judge_jobs(tasks: Repeated, executor: Any, status: Mapping[str, Any]) -> None:
    """Give up if a first job fails, or three in a row: the queue refuses, or workers do not start.

    A job that is lost later, with its node or by `scancel`, is replaced.
    """
    from parsl.jobs.states import JobState

    last = [status[block] for block in sorted(status, key=int)][-(3 if tasks.done else 1) :]
    if last and all(one.state in (JobState.FAILED, JobState.MISSING) for one in last):
        said = last[-1].stderr_summary or last[-1].message or "no reason is known"
        executor.set_bad_state_and_fail_all(RuntimeError(said))


def cancel_left(state: Path) -> None:
    """Cancel the jobs of a driver that was killed, and wait for their end.

    Parameters
    ----------
    state : Path
        `STATE_FILE`; the tasks of its jobs will be submitted again.

    Raises
    ------
    AlrareError
        If jobs do not end.
    """
    jobs = read_json(state)["jobs"] if state.is_file() else {}
    for provider in sorted({job["provider"] for job in jobs.values()}):
        ids = [job["id"] for job in jobs.values() if job["provider"] == provider and job["id"]]
        ids = [one for one in ids if _is_ours(provider, one, state.parent)]
        if not ids:
            continue
        _cancel(provider, ids)
        deadline = time.monotonic() + _SILENCE
        while _any_left(provider, ids, state.parent):
            if time.monotonic() > deadline:
                raise AlrareError(
                    f"{state}: the jobs {' '.join(ids)} ({provider}) of an earlier run of this"
                    " campaign do not end; end them, then run the same command again"
                )
            time.sleep(0.5)
    state.unlink(missing_ok=True)


_COMMANDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "slurm": (("scancel",), ("squeue", "-h", "-o", "%i", "-j")),
    "pbs": (("qdel",), ("qstat",)),
    "lsf": (("bkill",), ("bjobs", "-noheader", "-r")),
}
"""How jobs are canceled, and how those that are not at their end are listed; ids follow."""


def _cancel(provider: str, ids: Sequence[str]) -> None:
    if provider == "local":
        for one in ids:
            with suppress(ProcessLookupError):
                os.killpg(os.getpgid(int(one)), signal.SIGKILL)
    else:
        subprocess.run([*_COMMANDS[provider][0], *ids], capture_output=True, check=False)


def _any_left(provider: str, ids: Sequence[str], folder: Path) -> bool:
    if provider == "local":
        return any(_is_ours("local", one, folder) for one in ids)
    last = [",".join(ids)] if provider == "slurm" else ids
    command = [*_COMMANDS[provider][1], *last]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    return bool(listed.stdout.strip())


def _is_ours(provider: str, job: str, folder: Path) -> bool:
    """Whether a process of this machine belongs to a campaign; of a batch system all do."""
    if provider != "local":
        return True
    try:
        words = Path(f"/proc/{job}/cmdline").read_bytes()
    except OSError:
        return False
    return str(folder).encode() in words


def _meaning(kind: str, error: BaseException) -> BaseException | None:
    """Return the exception to raise for one of a task; None if its worker was lost."""
    from parsl.executors.errors import BadStateException
    from parsl.executors.high_throughput.errors import ManagerLost, WorkerLost

    if isinstance(error, ManagerLost | WorkerLost):
        return None
    if isinstance(error, BadStateException):
        said = [line.strip() for line in str(error.reason).splitlines() if line.strip()]
        return AlrareError(
            f"[cluster.{kind}]: its jobs failed: {' '.join(said)[:600]}; correct the table (`alrare"
            " check al.toml` tries one task of each kind), then run the same command again: nothing"
            " finished is lost"
        )
    return error


def _config(cluster: Cluster, folder: Path) -> "Config":
    from parsl.config import Config

    executors = [
        _executor(kind, machines, cluster.address)
        for kind in KINDS
        if (machines := getattr(cluster, kind)) is not None
    ]
    return Config(
        executors=executors,
        run_dir=str(folder),
        initialize_logging=False,
        strategy="simple",  # htex_auto_scale ends blocks that start, when they outnumber the tasks
        strategy_period=1,
        max_idletime=cluster.idle,
        usage_tracking=0,
    )


def _executor(kind: Kind, machines: Machines, address: str | None) -> "HighThroughputExecutor":
    from parsl.executors import HighThroughputExecutor

    hours, minutes, seconds = map(int, machines.walltime.split(":"))
    limit = 3600 * hours + 60 * minutes + seconds
    local = machines.provider == "local"
    return HighThroughputExecutor(
        label=kind,
        address="127.0.0.1" if local else address,
        cores_per_worker=machines.cores_per_worker,
        max_workers_per_node=machines.workers_per_node,
        available_accelerators=machines.gpus_per_node,
        drain_period=None if local else int(0.8 * limit),
        heartbeat_period=_HEARTBEAT,
        heartbeat_threshold=_SILENCE,
        # leaves Ctrl-C to the driver, and ends with it
        interchange_launch_cmd=(sys.executable, "-P", str(Path(__file__).with_name("follow.py"))),
        provider=_provider(machines),
    )


def _provider(machines: Machines) -> Any:
    from parsl.launchers import SimpleLauncher, SrunLauncher
    from parsl.providers import LocalProvider, LSFProvider, PBSProProvider, SlurmProvider

    cores = machines.workers_per_node * machines.cores_per_worker
    here = f"{Path(sys.executable).parent}"
    setup = [machines.setup, f"export PATH={shlex.quote(here)}:$PATH"]
    setup += [f"export {name}={value}" for name, value in ONE_THREAD.items()]
    if "PYTHONPATH" in os.environ:
        setup.append(f"export PYTHONPATH={shlex.quote(os.environ['PYTHONPATH'])}")
    shared: dict[str, Any] = {
        "nodes_per_block": machines.nodes,
        "init_blocks": 0,
        "min_blocks": 0,
        "max_blocks": machines.max_blocks,
        "worker_init": "\n".join(setup),
        "launcher": SimpleLauncher() if machines.nodes == 1 else SrunLauncher(),
    }
    if machines.provider == "local":
        return LocalProvider(**shared)
    shared |= {
        "walltime": machines.walltime,
        "scheduler_options": machines.scheduler_options,
        "cmd_timeout": 60,
    }
    if machines.provider == "slurm":
        return SlurmProvider(
            partition=machines.partition,
            account=machines.account,
            cores_per_node=cores,
            gpus_per_node=machines.gpus_per_node or None,
            exclusive=False,
            **shared,
        )
    if machines.provider == "pbs":
        gpus = f":ngpus={machines.gpus_per_node}" if machines.gpus_per_node else ""
        return PBSProProvider(
            queue=machines.partition,
            account=machines.account,
            cpus_per_node=cores,
            select_options=gpus.removeprefix(":"),
            **shared,
        )
    return LSFProvider(
        queue=machines.partition,
        project=machines.account,
        cores_per_node=cores,
        cores_per_block=cores * machines.nodes,
        **shared,
    )


def _own_config(cluster: Cluster, folder: Path) -> "Config | None":
    """Return the configuration that a file of the user's defines; None if there is no such file."""
    if cluster.parsl_config is None:
        return None
    from parsl.config import Config

    name, _, what = str(cluster.parsl_config).rpartition(":")
    where = f"parsl_config: {name}"
    spec = importlib.util.spec_from_file_location("alrare_cluster", name)
    if spec is None or spec.loader is None or not Path(name).is_file():
        raise ConfigError(f"{where}: no such file ([cluster])")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise ConfigError(f"{where}: {type(error).__name__}: {error} ([cluster])") from error
    config = getattr(module, what, None)
    if not isinstance(config, Config):
        raise ConfigError(
            f"{where}: expected {what} = parsl.config.Config(...), got {type(config).__name__}"
            " ([cluster])"
        )
    labels = {str(executor.label) for executor in config.executors}
    if not labels & set(KINDS) or labels - set(KINDS):
        raise ConfigError(
            f"{where}: expected executors labelled {', '.join(KINDS)}, got"
            f" {', '.join(sorted(labels))} ([cluster])"
        )
    config.run_dir = str(folder)
    return config
