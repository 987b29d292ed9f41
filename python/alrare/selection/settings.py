"""`[select]` of al.toml in its two other forms: the command `fix al_select`, and `_core.Selection`.

The names are the same in all three, but for the fix's keywords `cv` (its value is `cv_gap`),
`energy` (`energy_gap`) and `max` (`max_per_run`), and its `threshold`, whose values are
`value threshold`, `relative relative relative_floor` or `adaptive screening_steps sigma`.
"""

from .. import _core
from ..config import Select
from ..errors import AlrareError

CANDIDATES_FILE = "candidates.extxyz"
"""Name of the file that the fix writes, in the folder of its input."""


def fix_command(select: Select, *, cv: str | None = "v_d", cv_gap: float | None = None) -> str:
    """Return the `fix al_select` command, with the ID `select`.

    Parameters
    ----------
    select : Select
    cv : str or None
        The collective variable, `v_NAME`; by default the distance in a pull. None: there is none.
    cv_gap : float, optional
        By default that of `select`.
    """
    if select.threshold != "adaptive":
        threshold = f"value {select.threshold:.10g}"
    elif select.relative is not None:
        threshold = f"relative {select.relative:.10g} {select.relative_floor:.10g}"
    else:
        threshold = f"adaptive {select.screening_steps} {select.sigma:.10g}"
    command = (
        f"fix select all al_select 1 {CANDIDATES_FILE} threshold {threshold}"
        + ("" if cv is None else f" cv {cv} {select.cv_gap if cv_gap is None else cv_gap:.10g}")
        + f" energy {select.energy_gap:.10g} max {select.max_per_run}"
    )
    if select.upper != "none":
        command += f" upper {select.upper:.10g}"
    command += f" min_distance {select.min_distance:.10g}"
    if select.uncertainty == "force":
        command += " uncertainty force"
    if select.gap_steps:
        command += f" gap_steps {select.gap_steps}"
    return command


def fix_columns(select: Select | None) -> dict[str, str]:
    """Return the work file's columns for the uncertainty and the fix: heading to LAMMPS value."""
    if select is None:
        return {"energy_std/eV": "c_uq[1]"}
    force = select.uncertainty == "force"
    shown = {"energy_std/eV": "c_uq[1]"} | ({"force_std/(eV/angstrom)": "c_uq[2]"} if force else {})
    return shown | {
        f"threshold/{'(eV/angstrom)' if force else 'eV'}": "f_select[2]",
        "selected/1": "f_select",
        "above/1": "f_select[5]",
        "too_similar/1": "f_select[6]",
        "unphysical/1": "f_select[7]",
    }


def open_selection(select: Select, *, has_cv: bool) -> _core.Selection:
    """Return the criterion for use outside LAMMPS; without a variable, its gap is not tested."""
    try:
        return _core.Selection(
            threshold=None if select.threshold == "adaptive" else select.threshold,
            relative=select.relative,
            relative_floor=select.relative_floor,
            screening_steps=select.screening_steps,
            sigma=select.sigma,
            energy_gap=select.energy_gap,
            cv_gap=select.cv_gap if has_cv else 0.0,
            gap_steps=select.gap_steps,
            max_per_run=select.max_per_run,
            upper=None if select.upper == "none" else select.upper,
        )
    except RuntimeError as error:
        raise AlrareError(f"selection: {error}") from error
