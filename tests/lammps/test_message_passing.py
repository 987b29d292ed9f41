"""Models of format version 2 in a real lmp: messages cross ranks and periodic boundaries."""

import re
import runpy
import struct
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from alrare.exploration.lammps_input import write_data_file
from ase import Atoms
from ase.build import bulk, molecule
from message_passing import CUTOFF, ELEMENTS, Messages, evaluate, export

BAR = 1.602176634e6  # in one eV/Å^3
EXACT = 1e-8
SETUP = """
units {units}
atom_style atomic
boundary {boundary}
{before}
read_data system.data
pair_style {style}
pair_coeff * * {name} {model} H C
{after}
compute uq all pair nnp_ensemble
compute virial all pressure NULL pair
compute atoms all pe/atom
compute stresses all stress/atom NULL pair
compute total all reduce sum c_atoms c_stresses[1] c_stresses[4]
thermo_style custom step pe c_virial[*] c_total[*] c_uq[*]
thermo_modify format float %.15g norm no
dump forces all custom 1 forces.dump id fx fy fz c_atoms
dump_modify forces format float %.15g
{run}
"""
CONTENTS = {"code": "message_passing.py", "alrare.json": "extra/alrare.json"}
LENNARD_JONES = """
units metal
atom_style atomic
boundary p p p
read_data system.data
pair_style lj/cut 3.0
pair_coeff * * 0.01 1.5
compute virial all pressure NULL pair
thermo_style custom step pe c_virial[*]
thermo_modify format float %.15g norm no
dump forces all custom 1 forces.dump id fx fy fz xu
run 0
"""


def chain() -> Atoms:
    """A chain of 30 C and H in vacuum, longer than what an atom sees."""
    rng = np.random.default_rng(3)
    atoms = Atoms("CH" * 15, positions=[(1.1 * k, 0.4 * (k % 2), 0.0) for k in range(30)])
    atoms.positions += rng.uniform(-0.1, 0.1, (30, 3))
    return atoms


def small_cell() -> Atoms:
    """An ethane in a triclinic cell, a third of what an atom sees."""
    atoms = molecule("C2H6")
    atoms.set_cell([[4.6, 0, 0], [0.9, 4.4, 0], [0.4, -0.5, 4.8]])
    atoms.pbc = True
    atoms.rattle(0.05, seed=2)
    atoms.wrap()
    return atoms


def sheet() -> Atoms:
    """Ethanes in a box that is periodic in two directions."""
    one = small_cell()
    atoms = one.repeat((4, 3, 1))
    atoms.rattle(0.05, seed=4)
    atoms.pbc = (True, True, False)
    atoms.set_cell([[18.4, 0, 0], [2.7, 13.2, 0], [0, 0, 9.0]])
    atoms.wrap()
    return atoms


SYSTEMS = {"chain": chain, "small_cell": small_cell, "sheet": sheet}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return export(tmp_path_factory.mktemp("model") / "ensemble.pt")


@pytest.fixture
def start(tmp_path, run_lmp, model):
    """Run an input on a system; returns the finished process."""

    def run(
        atoms, *, keywords="", before="", after="", run="run 0", ranks=1, units="metal",
        style=None, name="", path=model, settings=SETUP,
    ):  # fmt: skip
        write_data_file(tmp_path / "system.data", atoms, elements=ELEMENTS)
        boundary = " ".join("p" if p else "s" for p in atoms.pbc)
        text = settings.format(
            units=units, boundary=boundary, before=before, model=path, after=after, run=run,
            style=style or f"nnp_ensemble {keywords}", name=name,
        )  # fmt: skip
        return run_lmp(text, cwd=tmp_path, ranks=ranks)

    return run


@pytest.fixture
def measure(start, tmp_path, read_thermo, read_dump):
    """As `start`; returns the first row of the thermo output and the dump (n, 4)."""

    def run(atoms, **options):
        result = start(atoms, **options)
        assert result.returncode == 0, result.stdout + result.stderr
        row = {name: values[0] for name, values in read_thermo(result.stdout)[0].items()}
        return row, read_dump(tmp_path / "forces.dump")[0]

    return run


def column(row, name, n):
    return np.array([row[f"{name}[{k}]"] for k in range(1, n + 1)])


# --- against the same network in torch ----------------------------------------------------------


@pytest.mark.parametrize("ranks", [1, 2, 4])
@pytest.mark.parametrize("system", SYSTEMS)
def test_ranks_and_images_give_the_energies_forces_and_stress_of_the_network(
    system, ranks, measure
):
    atoms = SYSTEMS[system]()
    energies, forces, virials = evaluate(atoms)
    row, atom = measure(atoms, keywords="force_std yes", ranks=ranks)
    assert np.allclose(column(row, "c_uq", 7)[2:5], energies.sum(1), rtol=0, atol=EXACT)
    assert row["PotEng"] == pytest.approx(energies.sum(1).mean(), abs=EXACT)
    assert row["c_uq[1]"] == pytest.approx(energies.sum(1).std(ddof=1), abs=EXACT)
    assert np.allclose(atom[:, :3], forces.mean(0), rtol=0, atol=EXACT)
    assert np.allclose(atom[:, 3], energies.mean(0), rtol=0, atol=EXACT)
    spread = np.sqrt((forces.std(0, ddof=1) ** 2).mean(1)).max()
    assert row["c_uq[2]"] == pytest.approx(spread, abs=EXACT)
    if atoms.pbc.all():
        expected = virials.mean(0)[[0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]]
        pressure = column(row, "c_virial", 6) * atoms.get_volume() / BAR
        assert np.allclose(pressure, expected, rtol=1e-6, atol=1e-6)
        assert -row["c_total[2]"] / BAR == pytest.approx(expected[0], rel=1e-6)
        assert -row["c_total[3]"] / BAR == pytest.approx(expected[3], rel=1e-6)


def test_a_model_that_names_its_best_member_is_driven_by_it(measure):
    atoms = chain()
    energies, forces, _ = evaluate(atoms)
    row, atom = measure(atoms, keywords="forces best every 2")
    assert row["PotEng"] == pytest.approx(energies[1].sum(), abs=EXACT)
    assert np.allclose(atom[:, :3], forces[1], rtol=0, atol=EXACT)


@pytest.mark.parametrize("ranks", [1, 2])
def test_steps_between_ensemble_steps_have_the_same_atom_energies(
    ranks, start, tmp_path, read_dump, rounding
):
    found = {}
    for every in (1, 5):
        result = start(
            chain(),
            keywords=f"forces best every {every}",
            ranks=ranks,
            run="timestep 0.0005\nfix 1 all nve\nrun 4",
        )
        assert result.returncode == 0, result.stdout + result.stderr
        found[every] = read_dump(tmp_path / "forces.dump")
    assert np.allclose(found[1], found[5], rtol=rounding, atol=rounding)


def test_forces_are_minus_the_energy_gradient(start, tmp_path, read_dump):
    differences = (
        "fix n all numdiff 1 1e-4\ndump n all custom 1 numdiff.dump id f_n[1] f_n[2] f_n[3]\n"
        "dump_modify n format float %.15g"
    )
    result = start(small_cell(), before="atom_modify map yes", after=differences)
    assert result.returncode == 0, result.stdout + result.stderr
    forces = read_dump(tmp_path / "forces.dump")[0][:, :3]
    assert np.allclose(forces, read_dump(tmp_path / "numdiff.dump")[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("ranks", [1, 4])
def test_energy_is_conserved_while_atoms_cross_boundaries(ranks, start, read_thermo):
    run = (
        "velocity all create 600 3 loop geom\nfix 1 all nve\ntimestep 0.0002\nthermo 10\n"
        "thermo_style custom step pe etotal\nthermo_modify format float %.15g norm no\n"
        "neigh_modify every 1 delay 0\nrun 300"
    )
    result = start(sheet(), run=run, ranks=ranks)
    assert result.returncode == 0, result.stdout + result.stderr
    table = read_thermo(result.stdout)[0]
    swing = np.ptp(table["PotEng"])
    assert np.ptp(table["TotEng"]) < 0.02 * swing, (np.ptp(table["TotEng"]), swing)


@pytest.mark.parametrize("bias", ["", "bias linear -0.5"])
@pytest.mark.parametrize("ranks", [1, 2])
def test_a_run_goes_on_from_a_restart_file_as_if_it_had_not_ended(ranks, bias, start, read_thermo):
    moving = "velocity all create 300 3 loop geom\n{fix}\nthermo 10\nrun 10\n{more}\nrun 10"
    fix = "fix 1 all nve\ntimestep 0.0002"
    whole = start(
        sheet(), keywords=bias, ranks=ranks,
        run=moving.format(fix=fix, more="write_restart half.restart"),
    )  # fmt: skip
    assert whole.returncode == 0, whole.stdout + whole.stderr
    begin = SETUP[: SETUP.index("{before}")] + "read_restart half.restart\n"
    rest = start(
        sheet(), keywords=bias, ranks=ranks, run=fix + "\nrun 10",
        settings=begin + SETUP[SETUP.index("pair_style") :],
    )  # fmt: skip
    assert rest.returncode == 0, rest.stdout + rest.stderr
    straight, again = read_thermo(whole.stdout)[1], read_thermo(rest.stdout)[0]
    assert again["PotEng"][-1] == pytest.approx(straight["PotEng"][-1], abs=1e-7)


def test_other_styles_beside_it_keep_pressure_right(measure):
    atoms = small_cell()
    alone, _ = measure(atoms)
    other = {"after": "pair_coeff * * lj/cut 0.01 1.5", "name": "nnp_ensemble"}
    both, _ = measure(atoms, style="hybrid/overlay nnp_ensemble lj/cut 3.0", **other)
    second, _ = measure(atoms, settings=LENNARD_JONES)
    for name in ("PotEng", *(f"c_virial[{k}]" for k in range(1, 7))):
        assert both[name] == pytest.approx(alone[name] + second[name], rel=1e-9), name


def test_excluded_atoms_are_no_part_of_the_system(measure):
    atoms = chain()
    far = Atoms("H", positions=[(3.0, 1.5, 0.5)])
    row, atom = measure(
        atoms + far, after="group out id 31\nneigh_modify exclude group out all", ranks=2
    )
    energies, forces, _ = evaluate(atoms)
    assert row["PotEng"] == pytest.approx(energies.sum(1).mean(), abs=EXACT)
    assert np.allclose(atom[:30, :3], forces.mean(0), rtol=0, atol=EXACT)


def test_the_example_of_the_documentation_runs(
    run_lmp, tmp_path, monkeypatch, read_thermo, read_dump
):
    page = (Path(__file__).parents[2] / "docs" / "model_format.md").read_text()
    code, _ = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    # torch.jit.script wants source lines, so the example must be a file
    (tmp_path / "export_carbon.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        runpy.run_path(str(tmp_path / "export_carbon.py"), run_name="export_carbon")
    diamond = bulk("C", cubic=True)
    diamond.rattle(0.1, seed=1)
    write_data_file(tmp_path / "system.data", diamond, elements=("C",))
    results = {}
    for ranks in (1, 2):
        text = SETUP.format(
            units="metal", boundary="p p p", before="", style="nnp_ensemble", name="",
            model="carbon.pt", after="", run="run 0",
        ).replace("H C", "C")  # fmt: skip
        result = run_lmp(text, cwd=tmp_path, ranks=ranks)
        assert result.returncode == 0, result.stdout + result.stderr
        results[ranks] = read_thermo(result.stdout)[0], read_dump(tmp_path / "forces.dump")[0]
    (one, forces), (two, others) = results[1], results[2]
    assert one["c_uq[4]"][0] == pytest.approx(1.2 * one["c_uq[3]"][0], rel=1e-6)
    assert one["PotEng"][0] == pytest.approx(two["PotEng"][0], rel=1e-6)
    assert np.allclose(forces, others, rtol=0, atol=1e-5)
    assert np.abs(forces[:, :3]).max() > 0.1


# --- a run with a bias --------------------------------------------------------------------------


def biased_energy(atoms, keywords):
    energies = evaluate(atoms)[0].sum(1)
    spread = energies.std(ddof=1)
    form, *numbers = keywords.split()
    a, *w = map(float, numbers)
    return energies.mean() + (
        a * spread if form == "linear" else a * (np.exp(-((spread / w[0]) ** 2)) - 1.0)
    )


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("bias", ["linear -3.0", "linear 2.0", "bounded 4.0 1.5"])
def test_the_bias_drives_by_the_gradient_of_the_biased_energy(bias, ranks, measure):
    atoms = chain()
    row, atom = measure(atoms, keywords=f"bias {bias}", ranks=ranks)
    assert row["PotEng"] == pytest.approx(biased_energy(atoms, bias), abs=EXACT)
    plain = evaluate(atoms)[0].sum(1).mean()
    assert row["c_uq[8]"] == pytest.approx(row["PotEng"] - plain, abs=EXACT)
    for k, axis in ((0, 0), (7, 1), (21, 2)):
        ends = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[k, axis] += sign * 1e-4
            ends.append(biased_energy(moved, bias))
        assert atom[k, axis] == pytest.approx(-(ends[0] - ends[1]) / 2e-4, abs=1e-5)


def test_a_bias_that_is_taken_back_leaves_nothing_behind(start, read_thermo):
    again = "run 0\npair_style nnp_ensemble\nrun 0"
    result = start(chain(), keywords="bias linear -3.0", run=again)
    assert result.returncode == 0, result.stdout + result.stderr
    biased, plain = (table["PotEng"][0] for table in read_thermo(result.stdout))
    assert plain == pytest.approx(evaluate(chain())[0].sum(1).mean(), abs=EXACT)
    assert abs(biased - plain) > 0.1


def test_the_pressure_includes_the_bias(measure):
    atoms = small_cell()
    row, _ = measure(atoms, keywords="bias linear -3.0")
    ends = []
    for sign in (1, -1):
        strained = atoms.copy()
        strained.set_cell(atoms.cell * (1 + sign * 1e-5), scale_atoms=True)
        ends.append(biased_energy(strained, "linear -3.0"))
    trace = -(ends[0] - ends[1]) / 2e-5
    pressures = column(row, "c_virial", 6)[:3].sum()
    assert pressures * atoms.get_volume() / BAR == pytest.approx(trace, rel=1e-5)


def test_a_bias_in_real_units_is_that_of_metal_units(measure):
    atoms = chain()
    metal, _ = measure(atoms, keywords="bias bounded 4.0 1.5")
    kcal = 23.060549
    real, _ = measure(atoms, keywords=f"bias bounded {4.0 * kcal} {1.5 * kcal}", units="real")
    assert real["PotEng"] == pytest.approx(kcal * metal["PotEng"], rel=1e-9)


def test_members_that_agree_are_not_biased(measure, tmp_path):
    module = Messages()
    module.charge[:] = module.charge[0]
    module.width[:] = module.width[0]
    path = export(tmp_path / "equal.pt", module)
    row, atom = measure(chain(), keywords="bias linear -3.0", path=path)
    assert row["c_uq[8]"] == pytest.approx(0.0, abs=1e-9)
    assert np.allclose(atom[:, :3], evaluate(chain(), module)[1][0], rtol=0, atol=EXACT)


# --- what is refused ----------------------------------------------------------------------------


class OfEdges(torch.nn.Module):
    """A model of the contract whose `energies` need nothing but the edges."""

    def forward(
        self,
        vec: torch.Tensor,
        edge_i: torch.Tensor,
        edge_j: torch.Tensor,
        species: torch.Tensor,
        n_local: int,
        triples: torch.Tensor,
        weights: torch.Tensor,
    ) -> torch.Tensor:
        return self.energies(vec, edge_i, n_local)

    def sums(self, of_edges: torch.Tensor, edge_i: torch.Tensor, n_local: int) -> torch.Tensor:
        """Sum a value of each edge over the edges of each center."""
        own = edge_i < n_local
        none = torch.zeros(n_local, dtype=of_edges.dtype, device=of_edges.device)
        return none.index_add(0, edge_i[own], of_edges[own])


class Sums(OfEdges):
    """Returns one energy a member, as version 1 does."""

    def energies(self, vec: torch.Tensor, edge_i: torch.Tensor, n_local: int) -> torch.Tensor:
        return vec.sum() * torch.ones(3, dtype=torch.float64, device=vec.device)


class Detached(OfEdges):
    """Loses the graph that leads from the energies to vec."""

    def energies(self, vec: torch.Tensor, edge_i: torch.Tensor, n_local: int) -> torch.Tensor:
        return (
            torch.ones(3, n_local, dtype=torch.float64, device=vec.device)
            * vec.detach().square().sum()
        )


class OneDetached(OfEdges):
    """Loses the graph of its second member."""

    def energies(self, vec: torch.Tensor, edge_i: torch.Tensor, n_local: int) -> torch.Tensor:
        mine = self.sums(torch.exp(-(vec * vec).sum(1)), edge_i, n_local)
        return torch.stack([mine, mine.detach(), mine]).double()


class Half(OfEdges):
    """Energies in a type of few digits, or of two parts."""

    def __init__(self, complex: bool) -> None:
        super().__init__()
        self.complex = complex

    def energies(self, vec: torch.Tensor, edge_i: torch.Tensor, n_local: int) -> torch.Tensor:
        energies = torch.ones(3, n_local, dtype=torch.float64, device=vec.device) * vec.sum()
        return torch.complex(energies, energies) if self.complex else energies.half()


class Overflowing(OfEdges):
    """Has no energy where two atoms are closer than 0.7 Å."""

    def energies(self, vec: torch.Tensor, edge_i: torch.Tensor, n_local: int) -> torch.Tensor:
        r = (vec * vec).sum(1).sqrt()
        inner = torch.sqrt(r - 0.7) * torch.exp(-r)
        return self.sums(inner, edge_i, n_local).repeat(3, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"module": Detached()}, "the gradient of member 1 is not that of its energy"),
        ({"module": OneDetached()}, "the gradient of member 2 is not that of its energy"),
        ({"module": Half(complex=False)}, "forward must be float32 or float64, got Half"),
        ({"module": Half(complex=True)}, "must be float32 or float64, got ComplexDouble"),
        (
            {"changes": {"receptive_field": 2 * CUTOFF}},
            "an energy depends on atoms 3 edges away, and its metadata says receptive_field 8"
            " Angstrom, which is 2 of 4: write the receptive_field that it has, at least 12",
        ),
        (
            {"changes": {"format_version": 1}},
            "receptive_field must be at most the cutoff, 4, in format version 1 (models that pass"
            " messages between atoms need version 2), got 12",
        ),
        (
            {"changes": {"receptive_field": 3.0}},
            "receptive_field must be at least the cutoff, 4, got 3",
        ),
        ({"changes": {"receptive_field": 1e300}}, "must be less than 100 cutoffs, got 1e+300"),
        ({"changes": {"format_version": 3}}, "format version 3 is not known here"),
        (
            {"module": Sums()},
            "forward must return energies of shape (members, n_local) = (3, 8)",
        ),
        ({"members": 1, "keywords": "bias linear 1.0"}, "a bias needs the spread of several"),
        (
            {"keywords": "bias linear 1.0 forces best every 2"},
            "a bias needs the spread of the members on every step",
        ),
        ({"keywords": "bias bounded 0.0 1.0"}, "a depth > 0"),
        ({"keywords": "bias bounded 1.0 1e-200"}, "the width is too small for this depth"),
        ({"keywords": "bias linear 1e999"}, "1e999"),
        ({"keywords": "bias away"}, "none, linear or bounded"),
        (
            {"before": "neighbor 2.0 multi\ncomm_modify mode multi", "ranks": 2},
            "use 'comm_modify mode single'",
        ),
        ({"before": "neighbor 2.0 multi", "ranks": 2}, "use 'neighbor 2 bin'"),
        (
            {"after": "group c type 2\natom_modify first c\nneigh_modify include c", "ranks": 2},
            "use 'neigh_modify include none'",
        ),
        ({"after": "compute c all centroid/stress/atom NULL pair"}, "centroid"),
    ],
    ids=lambda value: None if isinstance(value, str) else "-".join(map(str, value.values()))[:40],
)  # fmt: skip
def test_what_cannot_be_right_is_refused_in_one_sentence(options, message, start, tmp_path):
    options = dict(options)
    changes = options.pop("changes", {})
    module, members = options.pop("module", None), options.pop("members", 3)
    path = export(tmp_path / "other.pt", module, members=members, **changes)
    result = start(chain(), path=path, **options)
    assert result.returncode != 0
    assert message in result.stdout + result.stderr, result.stdout[-2000:]


def test_a_model_without_an_energy_ends_the_run_in_the_step_that_it_happens_in(start, tmp_path):
    path = export(tmp_path / "other.pt", Overflowing(), receptive_field=CUTOFF)
    close = chain()
    close.positions[4] = close.positions[3] + [0.5, 0.0, 0.0]
    assert start(chain(), path=path).returncode == 0
    result = start(close, path=path)
    assert result.returncode != 0
    assert "the model failed: energies of forward are not all finite" in result.stdout


@pytest.mark.parametrize("content", ["width", "code", "alrare.json"])
def test_a_damaged_file_is_refused(content, start, tmp_path, model):
    def at(archive: zipfile.ZipFile, data: bytes) -> int:
        """Where in the file the content begins that is to be damaged."""
        if content == "width":
            return data.index(Messages().width.numpy().tobytes()) + 4
        (name,) = (n for n in archive.namelist() if n.endswith(CONTENTS[content]))
        info = archive.getinfo(name)
        length = sum(struct.unpack_from("<HH", data, info.header_offset + 26))
        return info.header_offset + 30 + length + info.compress_size // 2

    data = bytearray(model.read_bytes())
    with zipfile.ZipFile(model) as archive:
        data[at(archive, bytes(data))] ^= 0x01
    (tmp_path / "damaged.pt").write_bytes(data)
    result = start(chain(), path=tmp_path / "damaged.pt")
    assert result.returncode != 0
    assert re.search("damaged: .* is not as it was written|not a TorchScript file", result.stdout)


def test_more_atoms_than_the_cutoff_needs_are_asked_for_and_said(start):
    result = start(chain(), ranks=2)
    assert f"the receptive field of {3 * CUTOFF:g}" in result.stdout, result.stdout
