"""The figures of examples/paper: tiny trials run as a user runs them, and their own parts."""

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PAPER = Path(__file__).parents[2] / "examples" / "paper"
TETRAHEDRAL = np.degrees(np.arccos(-1.0 / 3.0))


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the test import the modules of the examples."""
    monkeypatch.syspath_prepend(str(PAPER))


def make(script: str, runs: Path, *arguments: str) -> str:
    """Run a script as a trial; return what it printed."""
    command = [sys.executable, str(PAPER / script), *arguments]
    done = subprocess.run(
        [*command, "--trial", "--quiet", "--runs", str(runs)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.needs_lmp
@pytest.mark.timeout(900)
def test_figures_share_one_reference_and_leave_a_table_and_a_plot(tmp_path: Path) -> None:
    made = tmp_path / "trial-gfn2" / "fast"
    shown = make("fig2.py", tmp_path)
    assert "500 K data alone" in shown and "frames of one pull alone" in shown
    reference = tmp_path / "trial-gfn2" / "reference" / "reference"
    before = {path: path.stat().st_mtime_ns for path in reference.rglob("*") if path.is_file()}
    make("fig3.py", tmp_path)
    assert "SchNet, iteration 1" in make("fig4.py", tmp_path)
    model = made / "random-3" / "iter_001"
    assert "C3" in make("fig7.py", tmp_path, str(model), "--chains", "3")
    after = {path: path.stat().st_mtime_ns for path in reference.rglob("*") if path.is_file()}
    assert after == before
    for name in ("fig2", "fig3", "fig4", "fig7"):
        for suffix in (".png", ".svg", ".txt"):
            assert (made / name).with_suffix(suffix).stat().st_size > 0
    make("ours.py", tmp_path, str(made / "random-3" / "results.json"))
    assert "random-3" in (made / "runs.txt").read_text()


@pytest.mark.slow
def test_dftb_without_its_parameter_files_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, str(PAPER / "fig2.py"), "--labeller", "dftb3", "--runs"]
    done = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "--slater-koster DIR" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["nowhere"], 1, "nowhere.safetensors"),
        (["--chains", "1-3"], 2, "a chain has at least 2 carbons"),
        (["--seeds", "one"], 2, "one: expected 1-3"),
    ],
)
def test_what_cannot_be_pulled_is_refused_before_any_work(
    tmp_path: Path, arguments: list[str], status: int, said: str
) -> None:
    command = [sys.executable, str(PAPER / "fig7.py"), *arguments, "--quiet", "--runs"]
    done = subprocess.run([*command, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert said in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("n", range(2, 12))
@pytest.mark.usefixtures("modules")
def test_a_chain_is_all_trans_with_ideal_bonds_and_angles(n: int) -> None:
    from chains import CC, CH, alkane

    chain = alkane(n)
    assert chain.get_chemical_formula() == f"C{n}H{2 * n + 2}"
    distances = chain.get_all_distances()
    bonded = (distances > 0.0) & (distances < 1.7)
    assert (bonded[:n].sum(axis=1) == 4).all()
    assert (bonded[n:].sum(axis=1) == 1).all()
    assert distances[:n, :n][bonded[:n, :n]] == pytest.approx(CC)
    assert distances[:n, n:][bonded[:n, n:]] == pytest.approx(CH)
    for carbon in range(n):
        ends = np.flatnonzero(bonded[carbon])
        angles = [chain.get_angle(a, carbon, b) for a in ends for b in ends if a < b]
        assert angles == pytest.approx([TETRAHEDRAL] * 6)
    for first in range(n - 3):
        dihedral = chain.get_dihedral(first, first + 1, first + 2, first + 3)
        assert dihedral == pytest.approx(180.0)


@pytest.mark.parametrize("n", range(2, 12))
@pytest.mark.usefixtures("modules")
def test_the_hydrogens_of_a_chain_are_staggered(n: int) -> None:
    from chains import alkane

    chain = alkane(n)
    hydrogens = chain.get_all_distances()[n:, n:]
    nearest = hydrogens[hydrogens > 0.0].min()
    assert nearest == pytest.approx(1.09 * np.sqrt(8.0 / 3.0))  # of the same carbon


@pytest.mark.usefixtures("modules")
def test_a_chain_of_one_carbon_is_refused() -> None:
    from chains import alkane

    with pytest.raises(ValueError, match="at least 2 carbons, got 1"):
        alkane(1)


@pytest.mark.usefixtures("modules")
def test_the_trial_molecule_is_the_chain_of_two() -> None:
    from ase.io import read
    from chains import alkane

    assert read(PAPER / "ethane.xyz").positions == pytest.approx(alkane(2).positions)


@pytest.mark.usefixtures("modules")
def test_longer_chains_are_pulled_farther_and_shorter_ones_as_far_as_hexane() -> None:
    from alrare.config import Pull
    from fig7 import chain_pull

    hexane = Pull(atoms=(1, 6), steps=6500)
    assert chain_pull(hexane, 6) == hexane
    assert chain_pull(hexane, 3).steps == 6500
    assert chain_pull(hexane, 11).steps == 13000
    assert chain_pull(hexane, 11).atoms == (1, 11)


@pytest.mark.usefixtures("modules")
def test_the_labels_needed_are_those_of_the_first_of_three_good_iterations() -> None:
    from ours import labels_needed

    errors = [1.0, 0.01, 0.2, -0.02, 0.03, 0.04, 0.5]
    rows = [{"error": error, "n_labels": 300 + 50 * k} for k, error in enumerate(errors)]
    assert labels_needed(rows) == 450
    assert labels_needed(rows[:5]) is None
    assert labels_needed([{**row, "error": None} for row in rows]) is None


@pytest.mark.usefixtures("modules")
def test_every_variant_is_a_campaign_that_differs_from_ours() -> None:
    from alrare.config import parse_config
    from campaigns import merged
    from ours import OURS
    from variants import VARIANTS, read_variant, repeated

    read = {
        name: parse_config(
            merged(OURS, repeated(name, 2, None)), folder=PAPER, source=name
        ).model_dump_json()
        for name in VARIANTS
    }
    assert len(set(read.values())) == len(VARIANTS)
    assert all('"seed":2' in text for text in read.values())
    with pytest.raises(argparse.ArgumentTypeError, match="members-4: expected one of base"):
        read_variant("members-4")


@pytest.mark.usefixtures("modules")
def test_a_written_configuration_is_read_back() -> None:
    import tomllib

    from campaigns import toml_text

    content = {"name": 'a "b" \\', "x": 1, "pull": {"seeds": [1, 2]}, "m": {"h": {"H": [8, 4]}}}
    assert tomllib.loads(toml_text(content)) == content
