import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from alrare.config import Labeller, load_config
from alrare.errors import ConfigError, LabelError
from alrare.labelling.dftb.method import hamiltonian, mixers, parameter_hashes
from alrare.labelling.failures import LabelFailure

DFTB3 = Labeller(program="dftb+", slater_koster=Path("/3ob"))


def block(elements=("C", "H"), periodic=False, **settings):
    labeller = DFTB3.model_copy(update=settings)
    return hamiltonian(labeller, elements, folder="/3ob", periodic=periodic)


def test_the_preset_is_the_default_and_fills_the_whole_block():
    assert DFTB3.method == "DFTB3/3OB"
    text = block(("O", "C", "H", "C"))
    for line in (
        'C = "p"',
        'H = "s"',
        'O = "p"',
        "C = -0.1492",
        "H = -0.1857",
        "O = -0.1575",
        "ThirdOrderFull = Yes",
        "Exponent = 4",
        "Temperature [Kelvin] = 300",
        "SCCTolerance = 1e-08",
        "MaxSCCIterations = 200",
        "ConvergentSCCOnly = Yes",
        'Prefix = "/3ob/"',
    ):
        assert f"  {line}\n" in text
    assert "KPoints" not in text
    assert text == block(("H", "C", "O"))


def test_every_part_of_the_preset_can_be_set():
    text = block(
        third_order="onsite",
        hubbard_derivatives={"C": -0.2},
        max_angular_momentum={"C": "d"},
        damping_exponent=3.5,
        scc_tolerance=1e-6,
        scc_cycles=50,
        electronic_temperature=1000.0,
        hamiltonian="Dispersion = DftD4 {}\n",
    )
    for line in (
        "ThirdOrder = Yes",
        "C = -0.2",
        'C = "d"',
        "Exponent = 3.5",
        "SCCTolerance = 1e-06",
        "MaxSCCIterations = 50",
        "Temperature [Kelvin] = 1000",
        "Dispersion = DftD4 {}",
    ):
        assert f"  {line}\n" in text
    assert "HCorrection" not in block(damping_exponent=0.0)


def test_another_mixer_is_tried_unless_the_user_names_one():
    assert [bool(mixer) for mixer in mixers(DFTB3)] == [False, True, True]
    own = DFTB3.model_copy(update={"hamiltonian": "Mixer = DIIS {}"})
    assert mixers(own) == [()]
    assert "  Mixer = Anderson {\n" in hamiltonian(
        DFTB3, ["H"], folder="/3ob", mixer=mixers(DFTB3)[1]
    )


def test_the_plain_method_takes_what_it_is_given():
    text = block(method="DFTB", max_angular_momentum={"C": "p", "H": "s"})
    assert "ThirdOrder" not in text
    assert "HubbardDerivs" not in text
    assert "HCorrection" not in text
    with pytest.raises(LabelFailure, match="give `max_angular_momentum`"):
        block(method="DFTB")


def test_a_cell_takes_its_kpoints():
    text = block(periodic=True, kpoints=(2, 1, 3))
    assert "SupercellFolding {\n    2 0 0\n    0 1 0\n    0 0 3\n    0.5 0.0 0.0\n" in text


def test_an_element_without_parameters_is_named():
    with pytest.raises(LabelFailure, match=r"not for Si: give `max_angular_momentum`"):
        block(("H", "Si"))
    with pytest.raises(LabelFailure, match=r"not for Si: give `hubbard_derivatives`"):
        block(("H", "Si"), max_angular_momentum={"Si": "p"})


def test_a_method_that_the_program_does_not_have_is_refused():
    with pytest.raises(ConfigError, match="expected DFTB3/3OB or DFTB for dftb"):
        Labeller(program="dftb+", slater_koster=Path("/3ob"), method="GFN2-xTB")


def test_a_missing_parameter_file_is_named(tmp_path):
    (tmp_path / "H-H.skf").write_text("")
    with pytest.raises(LabelError, match=r"expected H-C.skf, C-H.skf, C-C.skf there; 3OB is"):
        parameter_hashes(tmp_path, ["H", "C"])


EXAMPLE = Path(__file__).resolve().parents[4] / "examples" / "hexane_dftb" / "al.toml"


def test_the_example_is_one_setting_away():
    config = load_config(EXAMPLE)
    assert config.labeller.method == "DFTB3/3OB"
    assert config.labeller.slater_koster == EXAMPLE.parent / "3ob-3-1"
    assert config.structure.is_file()
    with pytest.raises(LabelError, match=r"expected H-H\.skf, H-C\.skf, C-H\.skf, C-C\.skf"):
        parameter_hashes(config.labeller.slater_koster, ["H", "C"])


def test_with_that_setting_the_example_is_valid_and_starts(dftb, tmp_path):
    config = tmp_path / "example" / "al.toml"
    config.parent.mkdir()
    config.write_text(EXAMPLE.read_text().replace('"3ob-3-1"', f'"{dftb.slater_koster}"'))
    shutil.copytree(EXAMPLE.parents[1] / "hexane", tmp_path / "hexane")
    alrare = [sys.executable, "-m", "alrare"]
    assert b"method DFTB3/3OB" in subprocess.check_output([*alrare, "validate", config])
    run = [*alrare, "run", config, "--runs", tmp_path]
    with subprocess.Popen(run, stderr=subprocess.PIPE) as campaign:
        reference = tmp_path / "hexane_dftb" / "reference"
        while sum(path.stat().st_size for path in reference.glob(".*/labels.journal")) < 10000:
            assert campaign.poll() is None
            time.sleep(0.05)
        campaign.send_signal(signal.SIGINT)
        _, errors = campaign.communicate(timeout=60)
    assert campaign.returncode == 130
    assert b"alrare run" in errors
