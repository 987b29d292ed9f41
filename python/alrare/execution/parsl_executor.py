"""Tasks in the jobs of a batch system, by Parsl's HighThroughputExecutor (pilot jobs).

A job runs workers that serve many tasks. All state is with the driver; workers need the package and
the file system only. Tasks that are queued or run when the driver ends are lost with their jobs,
which are canceled: at the end of the driver, or at its next start if it was killed.
"""

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

from ..config import Cluster
from ..errors import AlrareError
from ..files import write_json
from .executor import Kind
from .jobs import STATE_FILE, cancel_left
from .parsl_config import config_of
from .remote import Call, Repeated, perform

_POLL = 2.0  # s
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
        self._began = time.time()
        config = config_of(cluster, folder, self._began)
        self._executors: dict[str, Any] = {str(one.label): one for one in config.executors}
        self._config = config
        self._repeated: dict[str, Repeated] = {}
        self._running: dict[str, int] = {}
        self._known: dict[str, dict[str, Any]] = {}
        self._submitted: list[tuple[str, str]] = []
        self._writing = threading.Lock()
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "ParslExecutor":
        from parsl.dataflow.dflow import DataFlowKernel

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
        self._write_state()
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
        with suppress(AlrareError):  # the disk is full, or a job does not end: nothing to be done
            self._write_state(ended=True)
            # once more: Parsl does not know of a job that it was submitting meanwhile
            cancel_left(self._folder / STATE_FILE)
            self._known, self._submitted = {}, []
            self._write_state(ended=True)

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
            # Tried again in a moment; no task depends on it.
            with suppress(Exception):
                self._known = self._jobs()
            with suppress(Exception):
                self._write_state()

    def _jobs(self) -> dict[str, dict[str, Any]]:
        """Return id, state and last message of each job, by kind and number of the block.

        The number of tasks that run is kept too.
        """
        found = {}
        for kind, executor in self._executors.items():
            managers = executor.connected_managers() if self._repeated[kind].waiting else []
            self._running[kind] = sum(int(one["tasks"]) for one in managers)
            ids = dict(executor.blocks_to_job_id)
            for block, status in dict(executor.status_facade).items():
                wrong = status.state.name in ("FAILED", "MISSING", "TIMEOUT")
                if status.terminal and not wrong:
                    continue
                said = status.message or status.stderr_summary or ""
                found[f"{kind} {block}"] = {
                    "id": str(ids.get(block, "")),
                    "state": status.state.name.lower(),
                    "message": said.strip().splitlines()[-1] if said.strip() else "",
                }
        return found

    def _write_state(self, *, ended: bool = False) -> None:
        tasks = {
            kind: {"waiting": one.waiting, "done": one.done, "workers lost": one.losses}
            for kind, one in self._repeated.items()
        }
        for kind, running in self._running.items():
            tasks[kind]["running"] = running
        state = {"folder": str(self._folder), "time": time.time(), "tasks": tasks}
        state |= {"jobs": self._known, "submitted": self._submitted}
        state |= {"began": self._began, "ended": ended}
        with self._writing:
            write_json(self._folder / STATE_FILE, state)


def _judge_jobs(executor: Any, status: Mapping[str, Any]) -> None:
    """Give up if the queue refuses a job, or if workers do not start.

    Two jobs whose workers do not start are enough if none ever did, otherwise three. A job that is
    lost later, with its node or by `scancel`, is replaced.
    """
    from parsl.jobs.states import JobState

    ends = (JobState.FAILED, JobState.MISSING, JobState.COMPLETED, JobState.TIMEOUT)
    ended = [block for block, one in status.items() if one.state in ends]
    if not ended:
        return
    served = set(executor.connected_blocks())
    useless = sorted(set(ended) - served, key=int)
    refused = [one for one in useless if "Failed to start block" in (status[one].message or "")]
    if refused or len(useless) >= (3 if served else 2):
        last = status[(refused or useless)[-1]]
        said = last.stderr_summary or last.message or "no reason is known"
        executor.set_bad_state_and_fail_all(RuntimeError(said))


def _meaning(kind: str, error: BaseException) -> BaseException | None:
    """Return the exception to raise for one of a task; None if its worker was lost."""
    from parsl.executors.errors import BadStateException
    from parsl.executors.high_throughput.errors import ManagerLost, WorkerLost

    if isinstance(error, ManagerLost | WorkerLost):
        return None
    if isinstance(error, BadStateException):
        # What the batch system said comes after what Parsl says of it.
        reason = str(error.reason).rpartition("stderr=")[2]
        said = [line.strip() for line in reason.splitlines() if line.strip()]
        return AlrareError(
            f"[cluster.{kind}]: its jobs failed: {' '.join(said)[:600]}; correct the table, then"
            " run the same command again: nothing finished is lost (`alrare check al.toml` tries"
            " one task of each kind)"
        )
    return error
