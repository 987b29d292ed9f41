"""Tasks in the jobs of a batch system, by Parsl's HighThroughputExecutor (pilot jobs).

A job runs workers that serve many tasks. All state is with the driver; workers need the package and
the file system only. Tasks that are queued or run when the driver ends are lost with their jobs,
which are canceled: at the end of the driver, or at its next start if it was killed.
"""

import logging
import os
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

from ..config import Cluster
from ..errors import AlrareError
from ..files import read_json, write_json
from .executor import Kind
from .parsl_config import config_of
from .remote import Call, Repeated, perform

if TYPE_CHECKING:
    pass

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
        config = config_of(cluster, folder)
        self._executors: dict[str, Any] = {str(one.label): one for one in config.executors}
        self._config = config
        self._repeated: dict[str, Repeated] = {}
        self._known: dict[str, dict[str, Any]] = {}
        self._submitted: list[tuple[str, str]] = []
        self._writing = threading.Lock()
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
            self._executors[kind].block_error_handler = _judge_jobs
            self._record_jobs(self._executors[kind].provider)
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
        self._known, self._submitted = {}, []
        self._write_state()

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

    def _record_jobs(self, provider: Any) -> None:
        """Write down each job before anything else can happen, so that it can be canceled."""
        submit, name = provider.submit, _PROVIDERS.get(type(provider).__name__, "")

        def submit_and_record(*args: Any, **kwargs: Any) -> Any:
            job = submit(*args, **kwargs)
            if job is not None:
                self._submitted.append((name, str(job)))
                self._write_state()
            return job

        provider.submit = submit_and_record

    def _watch(self) -> None:
        while not self._ended.wait(_POLL):
            self._known = self._jobs()
            self._write_state()

    def _jobs(self) -> dict[str, dict[str, Any]]:
        """Return id, state and last message of each job, by kind and number of the block."""
        found = {}
        for kind, executor in self._executors.items():
            ids = dict(executor.blocks_to_job_id)
            for block, status in dict(executor.status()).items():
                said = status.message or status.stderr_summary or ""
                found[f"{kind} {block}"] = {
                    "id": str(ids.get(block, "")),
                    "state": status.state.name.lower(),
                    "message": said.strip().splitlines()[-1] if said.strip() else "",
                }
        return found

    def _write_state(self) -> None:
        tasks = {
            kind: {"waiting": one.waiting, "done": one.done, "workers lost": one.losses}
            for kind, one in self._repeated.items()
        }
        running = {
            kind: executor.connected_managers() if self._repeated[kind].waiting else []
            for kind, executor in self._executors.items()
            if self._known
        }
        for kind, managers in running.items():
            tasks[kind]["running"] = sum(int(one["tasks"]) for one in managers)
        state = {"time": time.time(), "tasks": tasks, "jobs": self._known}
        with self._writing:
            write_json(self._folder / STATE_FILE, state | {"submitted": self._submitted})


def _judge_jobs(executor: Any, status: Mapping[str, Any]) -> None:
    """Give up if the queue refuses a job, or if workers do not start.

    Two jobs whose workers do not start are enough if none ever did, otherwise three. A job that is
    lost later, with its node or by `scancel`, is replaced.
    """
    from parsl.jobs.states import JobState

    ended = [
        block for block, one in status.items() if one.state in (JobState.FAILED, JobState.MISSING)
    ]
    if not ended:
        return
    served = set(executor.connected_blocks())
    useless = sorted(set(ended) - served, key=int)
    refused = [one for one in useless if "Failed to start block" in (status[one].message or "")]
    if refused or len(useless) >= (3 if served else 2):
        last = status[(refused or useless)[-1]]
        said = last.stderr_summary or last.message or "no reason is known"
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
    jobs = read_json(state)["submitted"] if state.is_file() else []
    for provider in sorted({name for name, _ in jobs if name}):
        ids = [job for name, job in jobs if name == provider]
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
