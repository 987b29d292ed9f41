"""What alrare made, for other programs: `alrare export` and `alrare data`."""

import argparse
from collections.abc import Callable
from pathlib import Path

from ..errors import AlrareError
from .commands import forces_of


def add_export(add: Callable[..., argparse.ArgumentParser]) -> argparse.ArgumentParser:
    """Add `alrare export`; return its parser."""
    one = add(
        "export",
        export,
        "write a folder that runs a structure with a model in LAMMPS: model, data file, inputs",
        "alrare export runs/hexane/iter_004 hexane.xyz -o md\n  cd md && lmp -in in.md",
    )
    one.add_argument("model", type=Path, metavar="MODEL", help="model folder or file")
    one.add_argument(
        "structure", type=Path, metavar="STRUCTURE", help="any file ASE reads; molecule or cell"
    )
    one.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FOLDER", help="folder to write"
    )
    one.add_argument(
        "--overwrite",
        action="store_true",
        help="replace files of these names in FOLDER that are different (refused otherwise)",
    )
    return one


def add_data(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add `alrare data`."""
    one = add(
        "data",
        data,
        "write the labels of one or several campaigns as extended XYZ",
        "alrare data runs/butane runs/hexane -o alkanes.extxyz",
    )
    one.add_argument(
        "campaigns",
        type=Path,
        nargs="+",
        metavar="CAMPAIGN",
        help="run folder, or the folder of a label store",
    )
    one.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="extended XYZ to write"
    )
    one.add_argument(
        "--method",
        metavar="HASH",
        help="the beginning of a method's hash, if the labels are of several methods",
    )


def export(options: argparse.Namespace) -> int:
    """Write model, structure and inputs for LAMMPS."""
    from ..exploration.export import export_lammps
    from ..frames import read_frames

    print(
        export_lammps(
            options.model,
            read_frames(options.structure)[-1],
            options.output,
            forces=forces_of(options),
            overwrite=options.overwrite,
        )
    )
    return 0


def data(options: argparse.Namespace) -> int:
    """Write labels; print how many, and how many are not there."""
    from ..campaign.collect import collect_labels
    from ..frames import write_frames

    if options.output.suffix not in (".extxyz", ".xyz"):
        raise AlrareError(f"{options.output}: expected a name that ends in .extxyz or .xyz")
    found = collect_labels(options.campaigns, method=options.method)
    write_frames(options.output, found.frames)
    print(
        f"{options.output}: {len(found.frames)} labels by {found.name}; left out: {found.repeated}"
        f" repeated, {found.failed} failed"
    )
    return 0
