"""fix al_select inside a real lmp: what is chosen, written, restarted, refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from alrare.cli.parser import main
from alrare.exploration.lammps_input import write_data_file
from alrare.model.calibration import write_calibration
from alrare.model.ensemble import load_ensemble
from alrare.model.model_file import SpreadFactors
from alrare.model.torchscript import export_torchscript
from ani_reference import evaluate, random_ensemble
from ase import Atoms
from ase.io import read

HEXANE = Path(__file__).parents[2] / "examples" / "hexane" / "hexane.xyz"
KCAL_PER_MOL = 0.04336410390059322  # eV, as LAMMPS converts

SYSTEM = """
units metal
atom_style atomic
boundary {boundary}
read_data molecule.data
pair_style {pair_style}
pair_coeff * * {pair_name} {model} H C
{more}
"""
PULL = """
group head id 1
group tail id 6
velocity all create 300.0 1 dist gaussian
timestep 0.001
fix nve all nve
fix pull head smd cvel 10.0 20.0 couple tail auto auto auto 0.0
variable d equal f_pull[6]
"""
AGAIN = """
read_restart half.restart
pair_style {pair_style}
pair_coeff * * {model} H C
group head id 1
group tail id 6
timestep 0.001
fix nve all nve
fix pull head smd cvel 10.0 20.0 couple tail auto auto auto 0.0
variable d equal f_pull[6]
"""
PICK = (
    "fix pick all al_select 1 candidates.extxyz threshold adaptive 20 1.0"
    " cv v_d 0.002 energy 0.001 max 30 min_distance 0.1\n"
)
FORCED = "nnp_ensemble force_std yes"
UNCAPPED = PICK.replace("max 30", "max 99")
PICKS = {
    "energy": (PICK, "nnp_ensemble"),
    "force": (PICK.replace("cv", "uncertainty force cv"), FORCED),
    "relative": (UNCAPPED.replace("adaptive 20 1.0", "relative 50 0.055"), "nnp_ensemble"),
    "relative force": (
        UNCAPPED.replace("adaptive 20 1.0", "relative 0.06 0.01 uncertainty force gap_steps 6"),
        FORCED,
    ),
}
every_kind = pytest.mark.parametrize("kind", PICKS)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Untrained ensembles: {members: path of ensemble.pt}, the master file beside each; and, as
    `calibrated`, the master of three members with factors for the spread."""
    folder = tmp_path_factory.mktemp("models")
    paths = {}
    for members in (1, 3):
        ensemble = random_ensemble(
            members=members, hidden={"H": (8, 8, 8)}, hidden_default=(8, 8, 8), seed=4
        )
        ensemble.save(folder / f"random{members}.safetensors")
        export_torchscript(ensemble, folder / f"random{members}.pt")
        paths[members] = folder / f"random{members}.pt"
    shutil.copy(folder / "random3.safetensors", folder / "calibrated.safetensors")
    write_calibration(folder / "calibrated.safetensors", SpreadFactors(2.5, 1.5, 30))
    paths["calibrated"] = folder / "calibrated.safetensors"
    return paths


@pytest.fixture
def simulate(tmp_path, models, run_lmp):
    """Run commands after the set-up of a molecule; return what lmp printed."""

    def run(
        commands,
        *,
        atoms=None,
        ranks=1,
        members=3,
        pair="nnp_ensemble",
        setup=SYSTEM,
        fails=False,
    ):
        atoms = read(HEXANE) if atoms is None else atoms
        write_data_file(tmp_path / "molecule.data", atoms, ["H", "C"])
        hybrid = pair.startswith("hybrid")
        text = setup.format(
            boundary="p p p" if atoms.pbc.any() else "s s s",
            pair_style=pair,
            pair_name="nnp_ensemble" if hybrid else "",
            model=models[members],
            more="pair_coeff * * zero" if hybrid else "",
        )
        result = run_lmp(text + commands, ranks=ranks, cwd=tmp_path)
        printed = result.stdout + result.stderr
        assert (result.returncode != 0) == fails, printed
        return printed

    return run


def chosen(folder, name="candidates.extxyz"):
    """Frames in a candidates file; none for an empty one."""
    path = folder / name
    return read(path, ":") if path.stat().st_size else []


def steps(frames):
    return [int(frame.info["step"]) for frame in frames]


def counters(folder):
    """Number selected and the vector of the fix, printed by COUNT."""
    return np.loadtxt(folder / "counters.txt")


COUNT = "print '$(f_pick) $(f_pick[1]) $(f_pick[2]) $(f_pick[3]) $(f_pick[4]) $(f_pick[5])" + (
    " $(f_pick[6]) $(f_pick[7])' file counters.txt\n"
)


def record(quantities, every=1):
    """Print quantities to values.txt, all digits, after the step."""
    shown = " ".join(f"$({quantity}:%.17g)" for quantity in quantities)
    return f"fix show all print {every} '$(step) {shown}' file values.txt screen no\n"


def papers_selection(member_energies, cv, n, k, energy_gap, cv_gap, cap):
    """Sections 2.3.2 and 2.3.3 of the paper, in numpy."""
    uq = member_energies.std(axis=1, ddof=1)
    energy = member_energies.mean(axis=1)
    threshold = uq[:n].mean() + k * uq[:n].std(ddof=1)
    picked = []
    for i in range(n, len(uq)):
        differs = (np.abs(energy[i] - energy[picked]) > energy_gap) & (
            np.abs(cv[i] - cv[picked]) > cv_gap
        )
        if uq[i] > threshold and differs.all() and len(picked) < cap:
            picked.append(i)
    return threshold, picked


@pytest.mark.parametrize("cap", [30, 4])
def test_selection_is_what_the_paper_describes(simulate, tmp_path, cap):
    simulate(
        PULL
        + PICK.replace("max 30", f"max {cap}")
        + "compute uq all pair nnp_ensemble\n"
        + record(["v_d", "c_uq[3]", "c_uq[4]", "c_uq[5]"])
        + "run 200\n"
        + COUNT
    )
    values = np.loadtxt(tmp_path / "values.txt")
    threshold, picked = papers_selection(values[:, 2:], values[:, 1], 20, 1.0, 0.001, 0.002, cap)
    frames = chosen(tmp_path)
    assert 3 < len(picked) <= cap
    assert steps(frames) == picked
    counts = counters(tmp_path)
    assert counts[0] == len(picked)
    assert counts[2] == pytest.approx(threshold, rel=1e-12)
    uq = values[:, 2:].std(axis=1, ddof=1)
    assert counts[5] == (uq[20:] > threshold).sum()
    assert counts[6] > 0
    for frame, i in zip(frames, picked, strict=True):
        assert frame.info["cv"] == pytest.approx(values[i, 1], rel=1e-9)
        assert frame.info["energy_std"] == pytest.approx(uq[i], rel=1e-8)
        assert frame.info["threshold"] == pytest.approx(threshold, rel=1e-9)


def test_forces_are_judged_by_the_largest_spread_of_an_atom(simulate, tmp_path):
    quantities = ["v_d", "c_uq[3]", "c_uq[4]", "c_uq[5]", "c_uq[2]", "c_uq[1]"]
    pick, pair = PICKS["force"]
    show = "compute uq all pair nnp_ensemble\n" + record(quantities)
    simulate(PULL + pick + show + "run 120\n" + COUNT, pair=pair)
    values = np.loadtxt(tmp_path / "values.txt")
    force_std = values[:, 5]
    frames = chosen(tmp_path)
    threshold = force_std[:20].mean() + force_std[:20].std(ddof=1)
    assert counters(tmp_path)[1:3] == pytest.approx([force_std[-1], threshold], rel=1e-12)
    picked = []
    for i in range(20, len(values)):
        differs = [
            abs(values[i, 2:5].mean() - values[k, 2:5].mean()) > 0.001
            and abs(values[i, 1] - values[k, 1]) > 0.002
            for k in picked
        ]
        if force_std[i] > threshold and all(differs) and len(picked) < 30:
            picked.append(i)
    assert steps(frames) == picked and len(picked) > 3
    for frame, i in zip(frames, picked, strict=True):
        assert frame.info["force_std"] == pytest.approx(force_std[i], rel=1e-8)
        assert frame.info["energy_std"] == pytest.approx(values[i, 6], rel=1e-8)
        assert frame.info["threshold"] == pytest.approx(threshold, rel=1e-9)


@pytest.mark.parametrize(("kind", "factor"), [("energy", 2.5), ("force", 1.5)])
def test_a_calibrated_uncertainty_is_the_factor_times_the_spread(simulate, tmp_path, kind, factor):
    index = {"energy": 1, "force": 2}[kind]
    pick = (
        f"fix pick all al_select 1 candidates.extxyz uncertainty {kind} calibrated yes"
        " threshold value {} cv v_d 0.002 energy 0 max 99 min_distance 0.1\n"
    )
    shown = ["f_pick[1]", f"c_uq[{index}]", f"c_uq[{5 + index}]"]
    compute = "compute uq all pair nnp_ensemble\n"
    run = compute + record(shown) + "run 30\n"
    simulate(PULL + pick.format(0) + run, members="calibrated", pair=FORCED)
    _, judged, spread, calibrated = np.loadtxt(tmp_path / "values.txt").T
    assert judged == pytest.approx(factor * spread, rel=1e-12)
    assert calibrated == pytest.approx(judged, rel=1e-12)
    above = np.median(judged)  # where the raw spread is nowhere above
    assert spread.max() < above < judged.max()
    simulate(PULL + pick.format(above) + run, members="calibrated", pair=FORCED)
    frames = chosen(tmp_path)
    assert 0 < len(frames) <= np.sum(judged > above)
    assert frames[0].info["threshold"] == pytest.approx(above)
    assert frames[0].info[f"{kind}_std"] < above


def test_a_model_without_calibration_shows_none_and_is_not_judged_by_it(simulate, tmp_path):
    compute = "compute uq all pair nnp_ensemble\n"
    printed = simulate(PULL + compute + record(["c_uq[1]", "c_uq[6]", "c_uq[7]"]) + "run 1\n")
    assert "forces mean, not calibrated" in printed
    values = np.loadtxt(tmp_path / "values.txt")
    assert np.isfinite(values[:, 1]).all() and np.isnan(values[:, 2:]).all()
    calibrated = PICK.replace("cv", "calibrated yes cv")
    printed = simulate(PULL + calibrated + "run 0\n", fails=True)
    assert "the model of pair style nnp_ensemble is not calibrated" in printed


def test_a_relative_threshold_follows_the_strain_energy(simulate, tmp_path):
    pick = (
        "fix pick all al_select 2 candidates.extxyz threshold relative 50 0.055 energy 0 max 99"
        " min_distance 0\n"
    )
    show = "compute uq all pair nnp_ensemble\n" + record(
        ["f_pick[2]", "c_uq[3]", "c_uq[4]", "c_uq[5]"], every=2
    )
    simulate(PULL + "run 3\n" + pick + show + "run 81\n")
    values = np.loadtxt(tmp_path / "values.txt")
    assert values[0, 0] == 4  # the first look
    energy, energy_std = values[:, 2:].mean(axis=1), values[:, 2:].std(axis=1, ddof=1)
    threshold = 50 * np.maximum(np.abs(energy - energy[0]), 0.055)
    np.testing.assert_allclose(values[:, 1], threshold, rtol=1e-9)
    assert threshold[0] < threshold.max()
    above = energy_std > threshold
    frames = chosen(tmp_path)
    assert steps(frames) == values[above, 0].astype(int).tolist()
    assert 0 < above.sum() < len(above)
    written = [frame.info["threshold"] for frame in frames]
    np.testing.assert_allclose(written, threshold[above], rtol=1e-9)


def test_a_relative_threshold_of_forces_follows_the_largest_mean_force(simulate, tmp_path, models):
    pick = (
        "fix pick all al_select 10 candidates.extxyz threshold relative 1e-3 0.01"
        " uncertainty force energy 0 min_distance 0\n"
    )
    simulate(PULL + pick + "run 100\n", pair=FORCED)
    frames = chosen(tmp_path)
    assert len(frames) == 11
    forces = evaluate(load_ensemble(models[3].with_suffix(".safetensors")), frames).forces
    largest = [np.linalg.norm(force.mean(axis=0), axis=1).max() for force in forces]
    written = [frame.info["threshold"] for frame in frames]
    assert min(largest) < 0.01 < max(largest)
    np.testing.assert_allclose(written, 1e-3 * np.maximum(largest, 0.01), rtol=1e-4)


def test_gap_steps_let_frames_through_that_the_gaps_hold_back(simulate, tmp_path):
    pick = "fix pick all al_select 1 candidates.extxyz threshold value 0 cv v_d 50 min_distance 0"
    pick += " gap_steps {}\n"
    for wait, expected in ((0, [0]), (15, [0, 15, 30, 45])):
        simulate(PULL + pick.format(wait) + "run 50\n")
        assert steps(chosen(tmp_path)) == expected


def test_a_variable_that_is_not_finite_is_unphysical(simulate, tmp_path):
    simulate(
        "variable d equal exp(1000)\n"
        "fix pick all al_select 1 candidates.extxyz threshold value 0 cv v_d 0 halt upper\n"
        "run 5\n" + COUNT
    )
    assert chosen(tmp_path) == []
    assert counters(tmp_path)[[0, 5, 7]].tolist() == [0, 0, 1]


def test_a_frame_and_its_energies_belong_to_the_same_instant(simulate, tmp_path, models):
    simulate(PULL + PICK + "run 100\n")
    frames = chosen(tmp_path)
    ensemble = load_ensemble(models[3].with_suffix(".safetensors"))
    assert len(frames) > 3
    written = np.array([frame.info["member_energies"] for frame in frames]).T
    np.testing.assert_allclose(evaluate(ensemble, frames).energies, written, rtol=0, atol=2e-5)
    distances = [frame.get_distance(0, 5) for frame in frames]
    np.testing.assert_allclose(distances, [frame.info["cv"] for frame in frames], atol=1e-6)
    assert all(frame.calc is None for frame in frames)  # a candidate has no label
    assert frames[0].get_chemical_symbols() == read(HEXANE).get_chemical_symbols()


def periodic_hexane():
    atoms = read(HEXANE)
    atoms.set_cell([[12.0, 0, 0], [1.0, 11.0, 0], [0.5, 0.7, 11.5]])
    atoms.pbc = True
    atoms.positions += 5.0
    atoms.wrap()
    return atoms


@pytest.mark.parametrize("ranks", [1, 2])
def test_periodic_frames_are_wrapped_and_keep_their_energies(simulate, tmp_path, models, ranks):
    atoms = periodic_hexane()
    simulate(
        "velocity all set 20.0 10.0 5.0\nfix nve all nve\n"
        "fix pick all al_select 10 candidates.extxyz threshold value 0 energy 0"
        " min_distance 0\nrun 200\n",
        atoms=atoms,
        ranks=ranks,
    )
    frames = chosen(tmp_path)
    assert steps(frames) == list(range(0, 201, 10))
    ensemble = load_ensemble(models[3].with_suffix(".safetensors"))
    written = np.array([frame.info["member_energies"] for frame in frames]).T
    np.testing.assert_allclose(evaluate(ensemble, frames).energies, written, rtol=0, atol=2e-5)
    for frame in frames:
        assert frame.pbc.all()
        np.testing.assert_allclose(frame.cell.array, atoms.cell.array)
        scaled = frame.get_scaled_positions(wrap=False)
        assert scaled.min() > -1e-8 and scaled.max() < 1 + 1e-8


@pytest.mark.parametrize(
    ("ranks", "kind"), [(2, "energy"), (4, "energy"), (2, "force"), (4, "relative force")]
)
def test_any_number_of_ranks_selects_the_same(simulate, tmp_path, ranks, kind):
    pick, pair = PICKS[kind]
    simulate(PULL + pick + "run 80\n" + COUNT, pair=pair)
    alone, alone_counts = chosen(tmp_path), counters(tmp_path)
    simulate(PULL + pick + "run 80\n" + COUNT, ranks=ranks, pair=pair)
    together = chosen(tmp_path)
    assert len(alone) > 3
    assert steps(together) == steps(alone)
    np.testing.assert_allclose(counters(tmp_path), alone_counts, rtol=1e-4)
    for a, b in zip(alone, together, strict=True):
        assert a.get_chemical_symbols() == b.get_chemical_symbols()
        np.testing.assert_allclose(a.positions, b.positions, atol=1e-4)


@every_kind
@pytest.mark.parametrize("cut", [12, 60])
def test_a_run_cut_in_two_selects_what_the_uncut_one_does(simulate, tmp_path, cut, kind):
    pick, pair = PICKS[kind]
    simulate(PULL + pick + f"run {cut}\nrun {120 - cut}\n" + COUNT, pair=pair)
    uncut, uncut_counts = chosen(tmp_path), counters(tmp_path)
    assert steps(uncut)[0] < 60 < steps(uncut)[-1]
    # the first half runs on after its restart file, as one that is killed later does
    simulate(PULL + pick + f"run {cut}\nwrite_restart half.restart\nrun 40\n", pair=pair)
    simulate(pick + f"run {120 - cut}\n" + COUNT, setup=AGAIN, pair=pair)
    assert steps(chosen(tmp_path)) == steps(uncut)
    np.testing.assert_allclose(counters(tmp_path), uncut_counts, rtol=1e-5)


def test_a_restart_without_its_candidates_file_says_so(simulate, tmp_path):
    simulate(PULL + PICK + "run 60\nwrite_restart half.restart\n")
    before = len(chosen(tmp_path))
    (tmp_path / "candidates.extxyz").unlink()
    printed = simulate(PICK + "run 0\n", setup=AGAIN)
    assert f"the candidates file holds 0 of the {before} frames" in printed


def test_a_restart_refuses_another_kind_of_selection(simulate):
    simulate(PULL + PICK + "run 0\nwrite_restart half.restart\n")
    printed = simulate(PICK.replace("cv v_d 0.002", "") + "run 0\n", setup=AGAIN, fails=True)
    assert "the run in the restart file was with a cv and this one is without" in printed
    printed = simulate(PICKS["force"][0] + "run 0\n", setup=AGAIN, pair=FORCED, fails=True)
    assert "was judged by the uncertainty of energy and this one is by that of force" in printed
    calibrated = PICK.replace("cv", "calibrated yes cv")
    printed = simulate(calibrated + "run 0\n", setup=AGAIN, members="calibrated", fails=True)
    assert "of energy and this one is by that of energy, calibrated" in printed


def test_a_fresh_start_overwrites(simulate, tmp_path):
    for _ in range(2):
        simulate(PULL + PICK + "run 40\n")
    frames = chosen(tmp_path)
    assert len(set(steps(frames))) == len(frames) > 0


@pytest.mark.parametrize(
    "more",
    ["threshold value {}", "threshold value {} uncertainty force", "threshold relative 1 {}"],
)
def test_units_real_give_the_same_file(simulate, tmp_path, more):
    pick = f"fix pick all al_select 1 candidates.extxyz {more} energy {{}}\nrun 0\n"
    simulate(pick.format(0.01, 0.01) + COUNT, pair=FORCED)
    [metal], counts = chosen(tmp_path), counters(tmp_path)
    kcal = 1 / KCAL_PER_MOL
    simulate(
        pick.format(0.01 * kcal, 0.01 * kcal) + COUNT,
        setup=SYSTEM.replace("metal", "real"),
        pair=FORCED,
    )
    [real] = chosen(tmp_path)
    np.testing.assert_allclose(real.positions, metal.positions)
    for key in ("member_energies", "energy_std", "force_std", "threshold"):
        np.testing.assert_allclose(real.info[key], metal.info[key], rtol=1e-6)
    assert metal.info["threshold"] == pytest.approx(0.01)
    assert counters(tmp_path)[1] == pytest.approx(counts[1] * kcal, rel=1e-6)


def test_hybrid_overlay_selects_what_the_pair_style_alone_does(simulate, tmp_path):
    simulate(PULL + PICK + "run 60\n")
    alone = steps(chosen(tmp_path))
    simulate(PULL + PICK + "run 60\n", pair="hybrid/overlay zero 5.0 nnp_ensemble")
    assert steps(chosen(tmp_path)) == alone != []


@every_kind
def test_rerun_of_the_trajectory_selects_what_the_run_did(simulate, tmp_path, kind):
    pick, pair = PICKS[kind]
    simulate(
        PULL + pick + "dump all all custom 1 all.dump id type x y z\n"
        "dump_modify all format float %.17g\nrun 40\nunfix pull\n"
        "variable d equal sqrt((xcm(head,x)-xcm(tail,x))^2+(xcm(head,y)-xcm(tail,y))^2"
        "+(xcm(head,z)-xcm(tail,z))^2)\n"
        + pick.replace("candidates", "again")
        + "rerun all.dump dump x y z\n",
        pair=pair,
    )
    assert steps(chosen(tmp_path, "again.extxyz")) == steps(chosen(tmp_path)) != []


SELECT_OPTIONS = {
    "energy": "--screening-steps 20 --sigma 1 --max 30",
    "relative force": "--relative 0.06 --relative-floor 0.01 --uncertainty force --gap-steps 6"
    " --max 99",
}


@pytest.mark.parametrize("kind", SELECT_OPTIONS)
def test_alrare_select_picks_from_the_dump_what_the_run_did(
    simulate, tmp_path, models, kind, capsys
):
    pick, pair = PICKS[kind]
    simulate(
        PULL + pick + "dump all all extxyz 1 all.extxyz\n"
        "dump_modify all element H C sort id vel no forces no\n"
        "dump_modify all format line '%s %.17g %.17g %.17g'\nrun 100\n" + COUNT,
        pair=pair,
    )
    model = models[3].with_suffix(".safetensors")
    arguments = ["select", str(tmp_path / "all.extxyz"), str(model), "--atoms", "1", "6"]
    arguments += ["-o", str(tmp_path / "again.extxyz"), "--cv-gap", "0.002", "-q", "--json"]
    arguments += ["--energy-gap", "0.001", "--min-distance", "0.1", *SELECT_OPTIONS[kind].split()]
    assert main(arguments) == 0
    told = json.loads(capsys.readouterr().out)
    frames, again = chosen(tmp_path), chosen(tmp_path, "again.extxyz")
    assert steps(again) == steps(frames) == told["steps"] != []
    counts, verdicts = counters(tmp_path), told["verdicts"]
    assert [verdicts[key] for key in ("selected", "too_similar", "unphysical")] == counts[
        [0, 6, 7]
    ].tolist()
    assert told["threshold"] == pytest.approx(counts[2], rel=1e-4)
    for a, b in zip(frames, again, strict=True):
        assert a.info.keys() == b.info.keys()
        np.testing.assert_allclose(a.positions, b.positions, atol=1e-7)
        for key in a.info:
            np.testing.assert_allclose(b.info[key], a.info[key], rtol=1e-4)


def test_a_variable_of_a_compute_is_current_on_every_look(simulate, tmp_path):
    simulate(
        PULL.replace("f_pull[6]", "pe") + "thermo 1000\n"
        "fix pick all al_select 3 candidates.extxyz threshold value 0 cv v_d 0 energy 0\nrun 12\n"
    )
    frames = chosen(tmp_path)
    assert steps(frames) == [0, 3, 6, 9, 12]
    for frame in frames:
        assert frame.info["cv"] == pytest.approx(frame.info["member_energies"].mean(), abs=1e-5)


@pytest.mark.parametrize("ranks", [1, 2])
def test_atoms_too_near_across_the_boundary_are_never_written(simulate, tmp_path, ranks):
    atoms = Atoms("CHH", [[0.1, 6, 6], [11.7, 6, 6], [6, 6, 6]], cell=[12.0] * 3, pbc=True)
    pick = "fix pick all al_select 1 candidates.extxyz threshold value 0 energy 0 min_distance {}\n"
    simulate(pick.format(0.45) + "run 0\n" + COUNT, atoms=atoms, ranks=ranks)
    assert chosen(tmp_path) == []
    assert counters(tmp_path)[[0, 5, 7]].tolist() == [0, 1, 1]
    simulate(pick.format(0.35) + "run 0\n" + COUNT, atoms=atoms, ranks=ranks)
    assert len(chosen(tmp_path)) == 1
    assert counters(tmp_path)[[0, 5, 7]].tolist() == [1, 1, 0]


def test_an_uncertainty_above_the_bound_is_counted_and_can_halt(simulate, tmp_path):
    printed = simulate(
        PULL
        + "fix pick all al_select 1 candidates.extxyz threshold value 0 upper 1e-6 halt upper\n"
        "run 50\n" + COUNT + "print 'the input goes on at step $(step)'\n"
    )
    assert "run halted on step 0: unphysical configuration" in printed
    assert "the input goes on at step 0" in printed
    assert chosen(tmp_path) == []
    assert counters(tmp_path)[7] == 1


def test_halt_max_ends_the_run_softly(simulate, tmp_path):
    printed = simulate(
        PULL + "fix pick all al_select 1 candidates.extxyz threshold value 0 energy 0 max 3"
        " halt max\nrun 50\nwrite_restart end.restart\n" + COUNT + "print 'ended at $(step)'\n"
    )
    assert "run halted on step 2: all candidates are selected" in printed
    assert "ended at 2" in printed
    assert steps(chosen(tmp_path)) == [0, 1, 2]
    assert (tmp_path / "end.restart").stat().st_size > 0


def test_a_fix_that_changes_the_box_too_early_is_named(simulate):
    printed = simulate(
        "fix nve all nve\nfix squeeze all deform 1 x scale 0.99\n"
        "fix pick all al_select 1 candidates.extxyz\nrun 1\n",
        atoms=periodic_hexane(),
    )
    assert "fix squeeze changes the box at the end of a step before this fix" in printed


PICKED = "fix pick all al_select 1 candidates.extxyz "


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("fix pick all al_select 1", "Illegal fix al_select command: missing argument"),
        ("fix pick all al_select 0 c.extxyz", "fix al_select: N must be >= 1, got 0"),
        ("fix pick all al_select x c.extxyz", "Expected integer parameter instead of 'x'"),
        ("fix pick some al_select 1 c.extxyz", "the group must be all"),
        (PICKED + "limit value 1", "unknown keyword 'limit' (expected threshold,"),
        (PICKED + "threshold 0.1", "threshold must be adaptive, value or relative, got '0.1'"),
        (
            PICKED + "threshold relative 0.1",
            "threshold relative: relative_floor must be a number, got the end of the line",
        ),
        (PICKED + "threshold relative 0 1", "threshold relative: relative must be > 0, got 0"),
        (
            PICKED + "threshold relative 1 0",
            "threshold relative: relative_floor must be > 0, got 0",
        ),
        (
            PICKED + "threshold relative 1 2 upper 2",
            "upper must be larger than relative * relative_floor, the smallest threshold, got 2",
        ),
        (
            PICKED + "threshold relative 1 2 upper sigma 9",
            "upper sigma needs an adaptive threshold",
        ),
        (
            PICKED + "uncertainty forces",
            "uncertainty must be energy, force or v_name of an equal-style variable, got 'forces'",
        ),
        (PICKED + "gap_steps -1", "gap_steps must be >= 0, got -1"),
        (PICKED + "threshold value", "threshold must be a number, got the end of the line"),
        (PICKED + "threshold value -1", "threshold must be >= 0, got -1"),
        (PICKED + "threshold value abc", "Expected floating point parameter instead of 'abc'"),
        (
            PICKED + "threshold adaptive 1 3",
            "fix al_select: threshold adaptive: screening_steps must be >= 2, got 1",
        ),
        (PICKED + "threshold adaptive 100 -3", "threshold adaptive: sigma must be >= 0, got -3"),
        (PICKED + "threshold adaptive 2.5 3", "Expected integer parameter instead of '2.5'"),
        (PICKED + "cv d 0.1", "cv must be v_name of an equal-style variable, got 'd'"),
        (PICKED + "cv v_d -0.1", "cv_gap must be >= 0, got -0.1"),
        (PICKED + "energy -1", "energy_gap must be >= 0, got -1"),
        (PICKED + "max 0", "max_per_run must be >= 1, got 0"),
        (PICKED + "upper 0", "upper must be > 0, got 0"),
        (PICKED + "upper sigma 2", "must be larger than sigma of the adaptive threshold, got 2"),
        (PICKED + "threshold value 1 upper sigma 9", "upper sigma needs an adaptive threshold"),
        (PICKED + "min_distance -1", "min_distance must be >= 0, got -1"),
        (PICKED + "halt later", "halt must be no, max or upper, got 'later'"),
    ],
)
def test_a_wrong_command_is_explained(simulate, command, message):
    setup = "region box block 0 1 0 1 0 1\ncreate_box 1 box\ngroup some empty\n"
    assert message in simulate(command + "\n", setup="units metal\n" + setup, fails=True)


def test_other_units_are_refused_by_name(simulate):
    setup = "units lj\nregion box block 0 1 0 1 0 1\ncreate_box 1 box\n"
    printed = simulate(PICKED + "\n", setup=setup, fails=True)
    assert "fix al_select: units must be metal or real, got lj" in printed


@pytest.mark.parametrize(
    ("commands", "message"),
    [
        (PICKED + "cv v_d 0.1\n", "fix al_select: cv: variable 'd' does not exist"),
        (
            "variable d atom x\n" + PICKED + "cv v_d 0.1\n",
            "fix al_select: cv: variable 'd' is not an equal-style variable",
        ),
        (
            "pair_style zero 5.0\npair_coeff * *\n" + PICKED + "\n",
            "needs exactly one pair style nnp_ensemble (alone or within a hybrid style), and the"
            " pair style is zero",
        ),
        (PICKED + "min_distance 5.2\n", "must not exceed the cutoff of the model"),
        (
            PICKED + "uncertainty force\n",
            "uncertainty force: the pair style does not compute it; give it 'force_std yes'",
        ),
        (
            "fix pick all al_select 1 no/folder/c.extxyz\n",
            "no/folder/c.extxyz: cannot be written (No such file or directory)",
        ),
        (
            "fix pick all al_select 1 /dev/full threshold value 0\n",
            "/dev/full: cannot be written (No space left on device)",
        ),
    ],
)
def test_what_only_shows_when_a_run_begins_is_explained(simulate, commands, message):
    if "/dev/full" in commands and not Path("/dev/full").exists():
        pytest.skip("/dev/full")
    assert message in " ".join(simulate(commands + "run 0\n", fails=True).split())


def test_a_single_member_has_no_uncertainty(simulate):
    printed = simulate(PICKED + "\nrun 0\n", members=1, fails=True)
    assert "has 1 member; the uncertainty needs at least 2" in " ".join(printed.split())
