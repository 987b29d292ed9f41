"""The molecule of a campaign: what is refused, and how it is said."""

from pathlib import Path

import pytest
from alrare.config import Config, parse_config
from alrare.errors import ConfigError
from alrare.structure import check_timestep, elements_of, load_structure
from ase import Atoms
from ase.build import molecule
from ase.io import write


def _config(folder: Path, structure: str, atoms: tuple[int, int] = (1, 2)) -> Config:
    return parse_config(
        {"name": "x", "structure": structure, "pull": {"atoms": list(atoms)}},
        folder=folder,
        source="al.toml",
    )


def test_a_molecule_is_read_with_its_order_of_atoms(tmp_path: Path) -> None:
    ethane = molecule("C2H6")
    write(tmp_path / "m.xyz", ethane)
    atoms = load_structure(_config(tmp_path, "m.xyz"))
    assert list(atoms.symbols) == list(ethane.symbols)
    assert abs(atoms.positions - ethane.positions).max() < 1e-6
    assert atoms.calc is None and not atoms.pbc.any()


def test_a_time_step_that_bonds_of_hydrogen_do_not_allow_is_refused() -> None:
    check_timestep(2.0, molecule("CH4"))
    check_timestep(10.0, Atoms("Ar"))
    with pytest.raises(ConfigError, match=r"timestep = 2\.5: expected at most 2 fs"):
        check_timestep(2.5, molecule("CH4"))
    with pytest.raises(ConfigError, match="timestep = 50: expected at most 10 fs"):
        check_timestep(50.0, Atoms("Ar"))


def test_elements_are_sorted_by_atomic_number() -> None:
    assert elements_of(Atoms("OCH3", positions=[[k, 0, 0] for k in range(5)])) == ["H", "C", "O"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"m\.xyz': no such file"),
        ("not a structure", r"m\.xyz': expected a file that ASE reads"),
        ("2\n\nC 0 0 0\nC 0 0 0.1\n", r"atoms 1 and 2 are 0\.100 Å apart, expected at least 0\.5"),
        ("2\n\nC 0 0 0\nC 0 0 nan\n", "a position is not a finite number"),
        ("2\n\nC 0 0 0\nX 0 0 2\n", "atom 2 has no known element"),
        ("2\n\nC 0 0 0\nQq 0 0 2\n", "expected a file that ASE reads"),
        (
            '2\nLattice="9 0 0 0 9 0 0 0 9" Properties=species:S:1:pos:R:3 pbc="T T T"\n'
            "C 0 0 0\nC 0 0 2\n",
            "expected a molecule without periodic boundaries",
        ),
    ],
)
def test_an_unusable_structure_is_refused(
    tmp_path: Path, content: str | None, message: str
) -> None:
    if content is not None:
        (tmp_path / "m.xyz").write_text(content)
    with pytest.raises(ConfigError, match=message):
        load_structure(_config(tmp_path, "m.xyz"))


def test_a_structure_without_the_pulled_atoms_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "m.xyz", molecule("C2H6"))
    message = r"atoms = \[1, 9\]: expected two of the 8 atoms of .*m\.xyz.*got atom 9 \(\[pull\]\)"
    with pytest.raises(ConfigError, match=message):
        load_structure(_config(tmp_path, "m.xyz", atoms=(1, 9)))
