"""The configuration of Parsl that `[cluster]` means."""

import importlib.util
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import Cluster, Machines
from ..errors import ConfigError
from ..processes import ONE_THREAD
from .executor import KINDS, Kind
from .jobs import STATE_FILE
from .remote import GPUS_OF_JOB

if TYPE_CHECKING:
    from parsl.config import Config
    from parsl.executors import HighThroughputExecutor

_HEARTBEAT, _SILENCE = 10, 60  # s
_PROGRAMS = Path(__file__).parent
_STATUS_EVERY = 10.0  # s
_ENDS_IF_IT_FAILS = """\
trap 'echo "setup: failed: $BASH_COMMAND" >&2' ERR
set -e
{setup}
set +e
trap - ERR"""


def config_of(cluster: Cluster, folder: Path, began: float) -> "Config":
    """Return the configuration of Parsl that `[cluster]` means.

    Parameters
    ----------
    cluster : Cluster
    folder : Path
        Receives Parsl's own files.
    began : float
        When this driver began, s since 1970; a job ends when a later one has begun.

    Raises
    ------
    ConfigError
        If a configuration of the user's own cannot be read.
    """
    if cluster.parsl_config is not None:
        config = _own_config(cluster.parsl_config)
        config.run_dir = str(folder)
    else:
        config = _config_of_tables(cluster, folder)
    state = str(folder / STATE_FILE)
    block = (sys.executable, "-P", str(_PROGRAMS / "block.py"), state, repr(began))
    executor: Any
    for executor in config.executors:
        executor.launch_cmd = f"{shlex.join(block)} {executor.launch_cmd}"
        # leaves Ctrl-C to the driver, and ends with it
        executor.interchange_launch_cmd = (
            sys.executable, "-P", str(_PROGRAMS / "follow.py"),
        )  # fmt: skip
    return config


def _config_of_tables(cluster: Cluster, folder: Path) -> "Config":
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

    local = machines.provider == "local"
    return HighThroughputExecutor(
        label=kind,
        address="127.0.0.1" if local else address,
        cores_per_worker=machines.cores_per_worker,
        max_workers_per_node=machines.workers_per_node,
        available_accelerators=machines.gpus_per_node,
        drain_period=None if local else int(0.8 * machines.seconds),
        heartbeat_period=_HEARTBEAT,
        heartbeat_threshold=_SILENCE,
        provider=_provider(machines),
    )


def _provider(machines: Machines) -> Any:
    provider = _of_batch_system(machines)
    # Parsl looks once a minute, and a job that fails at once would be noticed late.
    often = {"status_polling_interval": _STATUS_EVERY, "__doc__": type(provider).__doc__}
    provider.__class__ = type(type(provider).__name__, (type(provider),), often)
    return provider


def _of_batch_system(machines: Machines) -> Any:
    from parsl.launchers import SimpleLauncher, SrunLauncher
    from parsl.providers import LocalProvider, LSFProvider, PBSProProvider, SlurmProvider

    cores = machines.workers_per_node * machines.cores_per_worker
    here = f"{Path(sys.executable).parent}"
    setup = [_ENDS_IF_IT_FAILS.format(setup=machines.setup)] if machines.setup else []
    setup.append(f"export PATH={shlex.quote(here)}:$PATH")
    if machines.gpus_per_node:
        setup.append(f'export {GPUS_OF_JOB}="$CUDA_VISIBLE_DEVICES"')
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
        return PBSProProvider(
            queue=machines.partition,
            account=machines.account,
            cpus_per_node=cores,
            select_options=f"ngpus={machines.gpus_per_node}" if machines.gpus_per_node else "",
            **shared,
        )
    return LSFProvider(
        queue=machines.partition,
        project=machines.account,
        cores_per_node=cores,
        cores_per_block=cores * machines.nodes,
        **shared,
    )


def _own_config(source: Path) -> "Config":
    """Return the configuration that a file of the user's defines: `cluster.py:config`."""
    from parsl.config import Config
    from parsl.executors import HighThroughputExecutor

    name, _, what = str(source).rpartition(":")
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
    other = [one for one in config.executors if not isinstance(one, HighThroughputExecutor)]
    if other:
        raise ConfigError(
            f"{where}: expected each executor to be a HighThroughputExecutor, got"
            f" {type(other[0]).__name__} ([cluster])"
        )
    return config
