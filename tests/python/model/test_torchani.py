"""TorchANI models converted: the same energies and forces as TorchANI gives in float64."""

from pathlib import Path

import numpy as np
import pytest
import torch
from alrare.cli.parser import main
from alrare.errors import ModelError
from alrare.model.ensemble import load_ensemble
from alrare.model.torchani import HARTREE, build_model, convert, convert_to
from alrare.model.torchscript import load_torchscript
from ani_reference import evaluate
from ase import Atoms
from ase.build import molecule
from ase.data import atomic_numbers

pytest.importorskip("torchani", reason="torchani is not installed: pip install 'alrare[torchani]'")
pytestmark = pytest.mark.filterwarnings("ignore:The extensions:UserWarning")

SYMBOLS_2X = ("H", "C", "N", "O", "S", "F", "Cl")


def assemble(kind="2x", members=3, **changes):
    """An ANI-1x or ANI-2x as torchani builds them, before their weights are loaded."""
    from torchani.arch import Assembler

    torch.manual_seed(0)
    symbols = SYMBOLS_2X if kind == "2x" else SYMBOLS_2X[:4]
    asm = Assembler(periodic_table_index=True)
    asm.set_symbols(symbols)
    asm.set_atomic_networks(ctor=f"ani{kind}", kwargs=changes.get("networks", {}))
    asm.set_global_cutoff_fn(changes.get("cutoff", "cosine"))
    asm.set_aev_computer(angular=f"ani{kind}", radial=f"ani{kind}", strategy="pyaev")
    asm.set_neighborlist("all_pairs")
    asm.set_gsaes_as_self_energies("wb97x-631gd")
    return asm.assemble(members)


def drug():
    """A molecule with all seven elements."""
    atoms = molecule("C6H6") + Atoms(
        "NOSFClH2",
        [[0, 0, 3.2], [1.3, 0, 3.5], [-1.6, 0.4, 3.4], [0, 2.6, 3], [2.9, 1.5, 2.2],
         [0, 1, 3.3], [2.1, 0.6, 3.6]],
    )  # fmt: skip
    atoms.rattle(0.05, seed=1)
    return atoms


def small():
    atoms = molecule("CH3CONH2")
    atoms.rattle(0.05, seed=1)
    return atoms


def torchani_answers(model, atoms):
    """Energies (M,) in eV and forces (M, n, 3) in eV/Å, float64."""
    model = model.double()
    species = torch.tensor([[atomic_numbers[s] for s in atoms.get_chemical_symbols()]])
    positions = torch.tensor(atoms.positions[None], requires_grad=True)
    energies = model((species, positions), ensemble_values=True).energies.flatten()
    forces = [-torch.autograd.grad(e, positions, retain_graph=True)[0][0] for e in energies]
    return energies.detach().numpy() * HARTREE, torch.stack(forces).numpy() * HARTREE


CASES = {
    "ANI-2x, 8 members": ("2x", 8, {}, drug),
    "ANI-1x, 8 members": ("1x", 8, {}, small),
    "GELU without biases": ("2x", 2, {"networks": {"activation": "gelu", "bias": False}}, drug),
    "one network": ("1x", 1, {}, small),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_converted_model_gives_what_torchani_gives(case, tmp_path):
    kind, members, changes, build = CASES[case]
    model, atoms = assemble(kind, members, **changes), build()
    master, export = convert_to(model, tmp_path)
    energies, forces = torchani_answers(model, atoms)
    ensemble = load_ensemble(master)
    assert ensemble.metadata.members == members
    assert load_torchscript(export)[1]["activation"] == ensemble.metadata.activation
    result = evaluate(ensemble, [atoms], dtype=torch.float64)
    assert np.abs(forces).max() > 0.1
    # the rest is float32 rounding of the last layer's weights, now in eV
    assert np.abs(result.energies[:, 0] - energies).max() < 2e-5
    assert np.abs(result.forces[0] - forces).max() < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_the_native_engine_runs_it_as_torchani_does(case, tmp_path):
    core = pytest.importorskip("alrare._core")
    kind, members, changes, build = CASES[case]
    model, atoms = assemble(kind, members, **changes), build()
    master, _ = convert_to(model, tmp_path)
    energies, forces = torchani_answers(model, atoms)
    engine = core.Ensemble(str(master))
    species = np.array([engine.elements.index(s) for s in atoms.get_chemical_symbols()])
    native_energies, native_forces, _ = engine.evaluate_members(species, atoms.positions)
    assert np.abs(native_energies - energies).max() < 5e-5
    assert np.abs(native_forces - forces).max() <= 1e-5


def test_the_elements_keep_their_order():
    assert convert(assemble(members=1)).metadata.elements == SYMBOLS_2X


def test_what_alrare_does_not_know_is_named():
    from torchani.arch import simple_ani

    with pytest.raises(ModelError, match="cutoff function is CutoffSmooth, expected CutoffCosine"):
        convert(assemble("1x", 1, cutoff="smooth"))
    with pytest.raises(ModelError, match=r"activation is Tanh\(\), expected CELU or GELU"):
        convert(assemble("1x", 1, networks={"activation": torch.nn.Tanh()}))
    with pytest.raises(ModelError, match="the model adds repulsion_xtb"):
        convert(simple_ani(("H", "C"), lot="wb97x-631gd", cutoff_fn="cosine"))
    with pytest.raises(ModelError, match="expected one ANINetworks with one output"):
        convert(
            simple_ani(
                ("H", "C"), lot="wb97x-631gd", cutoff_fn="cosine", repulsion=False,
                container="SingleNN",
            )
        )  # fmt: skip
    with pytest.raises(ModelError, match=r"expected a torchani\.arch\.ANI model, got a Linear"):
        convert(torch.nn.Linear(1, 1))
    with pytest.raises(ModelError, match=r"best_member must be in 0\.\.0, got 1"):
        convert(assemble("1x", 1), best_member=1)


def test_a_model_is_built_by_its_name(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text("def model():\n    return 'a model'\n")
    assert build_model(f"{path}:model") == "a model"
    for name in ("ANI99", f"{path}:other", "no.such.module:model"):
        with pytest.raises(ModelError, match=r"expected a model of torchani\.models or MODULE"):
            build_model(name)


def test_the_command_writes_both_files(tmp_path, capsys):
    (tmp_path / "mine.py").write_text(
        "import torchani\n\n\ndef model():\n"
        "    return torchani.arch.simple_ani(('H', 'C'), lot='wb97x-631gd', ensemble_size=2,"
        " cutoff_fn='cosine', repulsion=False)\n"
    )
    name = f"{tmp_path / 'mine.py'}:model"
    assert main(["convert", name, "-o", str(tmp_path / "out"), "--best-member", "2"]) == 0
    master, export = capsys.readouterr().out.split()
    assert load_ensemble(Path(master)).metadata.best_member == 1
    assert Path(export).name == "ensemble.pt"
    assert main(["convert", "ANI99", "-o", str(tmp_path)]) == 1
    assert "ANI99: expected a model of torchani.models" in capsys.readouterr().err
