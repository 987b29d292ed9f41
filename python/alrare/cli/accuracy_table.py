"""The table that `alrare evaluate` prints."""

from typing import TYPE_CHECKING

from ..units import GPA

if TYPE_CHECKING:
    from ..model.accuracy import FrameErrors
    from ..model.assessment import Assessment, Errors


def accuracy_table(errors: "FrameErrors", detail: "Assessment | None") -> list[str]:
    """Return the lines: errors, what they are made of, and what was subtracted."""
    lines = [
        _row("frames", str(errors.n_frames)),
        _row("MAE of relative energy", shown(errors.energy_mae, 1000, "meV")),
        _row("MAE of force components", shown(errors.force_mae, 1000, "meV/Å")),
        *([] if detail is None else _detail(detail)),
        _row("rms error / energy_std", shown(errors.calibration, 1, "(above 1: over-confident)")),
        _row("rms error / calibrated", _calibrated(errors.calibrated)),
    ]
    for formula, offset in errors.offsets.items():
        text = f"{shown(offset, 1000, 'meV')} of {formula}, subtracted"
        lines.append(_row("mean energy error", text))
    if errors.same_method is False:
        lines.append("The labels are by another method than those that the model was trained on.")
    return lines


def _detail(detail: "Assessment") -> list[str]:
    lines = []
    if detail.relative_energy is not None and detail.relative_energy_per_atom is not None:
        rmse = shown(detail.relative_energy.rmse, 1000, "meV")
        lines.append(_row("RMSE of relative energy", rmse))
        lines.append(
            _row("  per atom: MAE, RMSE", _two(detail.relative_energy_per_atom, "meV/atom"))
        )
    lines.append(_row("RMSE of force components", shown(detail.force.rmse, 1000, "meV/Å")))
    for element, errors in detail.by_element.items():
        lines.append(_row(f"  on {element}: MAE, RMSE", _two(errors, "meV/Å")))
    cosine = "-" if detail.force_cosine is None else f"{detail.force_cosine:.5f}"
    lines.append(_row("mean cosine of the forces", cosine))
    if detail.stress is not None:
        name = f"stress of {detail.stress.n // 9} cells: MAE, RMSE"
        lines.append(
            _row(name, f"{detail.stress.mae / GPA:.3f}, {detail.stress.rmse / GPA:.3f} GPa")
        )
    for kind, (energy, force) in detail.by_config_type.items():
        of_kind = f"of config_type {kind}" if kind else "without config_type"
        lines.append(f"{energy.n} frame{'s' if energy.n > 1 else ''} {of_kind}")
        lines.append(_row("  energy as it is", _two(energy, "meV")))
        lines.append(_row("  force components", _two(force, "meV/Å")))
    return lines


def _calibrated(value: float | None) -> str:
    return "the model is not calibrated" if value is None else f"{value:.2f}"


def _row(name: str, text: str) -> str:
    return f"{name:<26} {text}"


def shown(value: float | None, factor: float, unit: str) -> str:
    """Write a value in a unit, or a dash."""
    return "-" if value is None else f"{value * factor:.2f} {unit}"


def _two(errors: "Errors", unit: str) -> str:
    return f"{1000 * errors.mae:.2f}, {1000 * errors.rmse:.2f} {unit}"
