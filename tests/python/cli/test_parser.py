"""The command line: what it prints, and how it fails."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from alrare.cli.parser import main, parser
from alrare.config import load_config
from alrare.frames import labelled, read_frames, write_frames
from ase import Atoms
from ase.build import molecule
from ase.io import write

COMMANDS = ("run", "reference", "status", "report", "train", "evaluate", "label", "smd")
COMMANDS += ("watch", "select", "check", "doctor", "validate", "template", "schema")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    write(tmp_path / "ethane.xyz", molecule("C2H6"))
    path = tmp_path / "al.toml"
    path.write_text('name = "ethane"\nstructure = "ethane.xyz"\n[pull]\natoms = [1, 2]\n')
    return path


def test_the_schema_is_json_and_refuses_unknown_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert schema["additionalProperties"] is False and "pull" in schema["properties"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert f"example:\n  alrare {command}" in text
    example = text.split("example:\n  alrare ")[1].split("\n")[0].partition(" > ")[0]
    parser().parse_args(example.split())


def test_a_valid_campaign_is_summed_up(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validate", str(config)]) == 0
    text = capsys.readouterr().out
    assert "C2H6, 8 atoms, elements H C, charge 0, multiplicity 1" in text
    assert "atoms 1 (C) and 2 (C) from 1.52 Å to about 4.77 Å" in text
    assert "313 initial, then up to 138 in each of 8 iterations" in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("pulls = 1", "pulls: unknown key"),
        ("[select]\nsigma = -1", "sigma = -1: expected a number above 0"),
        ("pull.atoms = [1, 9]", "expected two of the 8 atoms"),
        ("pull.atoms = [1, 1]", "the two pulled atoms must differ"),
        ('structure = "m.xyz"', "m.xyz': no such file"),
        ('structure = ""', "expected a file that ASE reads, got a folder"),
        ("[model]\nhidden = { Hx = [8] }", "hidden.Hx: expected a chemical element"),
        ('[labeller]\nprogram = "ase"\ncalculator = "no.Such"', "No module named 'no'"),
        ('[run]\nlmp = "/nowhere/lmp"', "lmp = '/nowhere/lmp': no such program ([run])"),
        ("timestep = 5.0", "timestep = 5: expected at most 2 fs, since bonds of hydrogen"),
        ("[initial]\nstride = 5000", "stride = 5000: expected at most steps = 3000"),
        ('reference = "runs/none"', "runs/none/reference: no reference of a campaign"),
        ("name = ", "not valid TOML"),
    ],
)
def test_bad_input_is_one_message_and_status_1(
    config: Path, capsys: pytest.CaptureFixture[str], change: str, message: str
) -> None:
    lines = ['name = "ethane"', 'structure = "ethane.xyz"', "pull.atoms = [1, 2]"]
    lines = [line for line in lines if line.split()[0] != change.split()[0]]
    config.write_text("\n".join([*lines, change]) + "\n")
    assert main(["validate", str(config)]) == 1
    out, error = capsys.readouterr()
    assert out == "" and error.startswith("alrare: ") and message in error
    assert "Traceback" not in error


def test_a_run_folder_that_cannot_be_made_is_one_message(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert main(["run", str(config), "--runs", str(tmp_path / "file"), "--quiet"]) == 1
    error = capsys.readouterr().err
    assert "could not be written" in error and "nothing finished is lost" in error


def test_ctrl_c_says_how_to_go_on(
    config: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("alrare.campaign.loop.run_campaign", interrupted)
    assert main(["run", str(config), "--runs", "my runs"]) == 130
    error = capsys.readouterr().err
    assert f"go on with: alrare run {config} --runs 'my runs'" in error


@pytest.mark.slow
def test_run_keeps_the_configuration_in_a_folder_of_its_name(
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    config.write_text(
        config.read_text()
        + '[labeller]\nprogram = "ase"\ncalculator = "no_such_module.Calculator"\n'
    )
    assert main(["run", str(config), "--quiet"]) == 1
    out, error = capsys.readouterr()
    assert out == "" and "no_such_module" in error
    run = tmp_path / "runs" / "ethane"
    assert (run / "config.toml").read_text() == config.read_text()
    resolved = json.loads((run / "config.resolved.json").read_text())
    assert resolved == json.loads(load_config(config).model_dump_json())


@pytest.mark.slow
def test_labels_are_made_once(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(
        config.read_text()
        + '[labeller]\nprogram = "ase"\ncalculator = "ase.calculators.lj.LennardJones"\n'
    )
    frames = [Atoms("H2", positions=[[0, 0, 0], [0, 0, d]]) for d in (0.9, 1.0, 0.1)]
    write_frames(tmp_path / "in.extxyz", frames)
    words = ["label", str(tmp_path / "in.extxyz"), str(tmp_path / "out.extxyz"), "--quiet"]
    words += ["--config", str(config), "--workers", "1"]
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "2 labelled (2 computed now, 0 known before), 1 failed" in text
    assert "unphysical: atoms 1 and 2 are 0.100 Å apart" in text
    assert len(read_frames(tmp_path / "out.extxyz")) == 2
    assert main(words) == 0
    assert "2 labelled (0 computed now, 2 known before)" in capsys.readouterr().out

    config.write_text(
        '[labeller]\nprogram = "ase"\ncalculator = "ase.calculators.lj.LennardJones"\n'
    )
    assert main(words) == 0
    assert "2 labelled (0 computed now, 2 known before)" in capsys.readouterr().out
    config.write_text('charge = 0\n[labeller]\nengines = "ase"\n')
    assert main(words) == 1
    assert "engines: unknown key; did you mean engine?" in capsys.readouterr().err


def test_errors_of_a_model_are_a_table_or_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from ani_reference import random_ensemble

    ensemble = random_ensemble(members=2, hidden={"H": (8,)}, hidden_default=(8,))
    ensemble.save(tmp_path / "ensemble.safetensors")
    frame = molecule("CH4")
    write_frames(tmp_path / "data.extxyz", [labelled(frame, -1.0, np.zeros((5, 3)))] * 2)
    data = str(tmp_path / "data.extxyz")
    plot = tmp_path / "errors.png"
    assert main(["evaluate", str(tmp_path), data, "--plot", str(plot)]) == 0
    table = capsys.readouterr().out
    assert "frames                     2\nMAE of relative" in table
    assert "  per atom: MAE, RMSE      0.00, 0.00 meV/atom" in table
    assert "  on H: MAE, RMSE" in table
    assert plot.is_file()
    assert main(["evaluate", str(tmp_path / "ensemble.safetensors"), data, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["n_frames"] == 2 and found["detail"]["by_element"]["H"]["n"] == 2 * 4 * 3
    assert main(["evaluate", str(tmp_path / "nowhere"), data]) == 1
    assert "expected an ensemble.safetensors file" in capsys.readouterr().err


def test_evaluate_calibrates_a_model_on_demand(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from ani_reference import random_ensemble

    ensemble = random_ensemble(members=2, hidden={"H": (8,)}, hidden_default=(8,))
    ensemble.save(tmp_path / "ensemble.safetensors")
    labels = []
    for k in range(12):
        methane = molecule("CH4")
        methane.rattle(0.05, seed=k)
        labels.append(labelled(methane, -1.0 - k, np.full((5, 3), 0.1)))
    write_frames(tmp_path / "data.extxyz", labels)
    words = ["evaluate", str(tmp_path), str(tmp_path / "data.extxyz"), "--any-units"]
    assert main(words) == 0
    assert "rms error / calibrated     the model is not calibrated" in capsys.readouterr().out
    assert main([*words, "--calibrate"]) == 0
    said = capsys.readouterr()
    assert "rms error / calibrated     1.00" in said.out
    assert "its spread is an error times" in said.err and "by 12 frames" in said.err
    assert main([*words, "--calibrate", "--forces", "best"]) == 1
    assert "leave --forces best out" in capsys.readouterr().err
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["calibrated"] == pytest.approx(1.0)
    write_frames(tmp_path / "data.extxyz", labels[:3] * 5)  # a copy proves nothing
    assert main([*words, "--calibrate"]) == 1
    assert "expected at least 10 frames" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seeds", "1-x"], "--seeds '1-x': expected numbers such as [1, 2, 5] or \"1-8\""),
        (["--relax-steps", "-5"], "--relax-steps -5: expected at least 0"),
        (["--atoms", "1", "9"], "expected two of the 8 atoms"),
        (["--atoms", "2", "2"], "the two pulled atoms must differ"),
        (["--steps", "9" * 20], f"--steps {'9' * 20}: expected at most 2147483647"),
    ],
)
def test_a_pull_with_bad_options_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    write(tmp_path / "ethane.xyz", molecule("C2H6"))
    given = ["smd", str(tmp_path), str(tmp_path / "ethane.xyz"), "-o", str(tmp_path / "out")]
    assert main([*given, "--atoms", "1", "2", *words]) == 1
    assert message in capsys.readouterr().err


def test_options_that_a_pull_by_the_labeller_would_ignore_are_refused(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["smd", str(config), str(config.parent / "ethane.xyz"), "-o", str(config.parent / "o")]
    assert main([*words, "--atoms", "1", "2", "--device", "cpu"]) == 1
    assert "--device is for pulls by a model" in capsys.readouterr().err


def test_wrong_usage_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["train", "data.extxyz"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        "alrare train: the following arguments are required: -o/--output;"
        " `alrare train --help` shows the usage\n"
    )


def test_status_of_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", str(tmp_path / "nowhere")]) == 1
    assert "no such run folder" in capsys.readouterr().err


def test_the_light_commands_do_not_load_torch() -> None:
    code = (
        "import sys, alrare.cli.parser as cli; cli.main(['schema']);"
        "sys.exit(any(name in sys.modules for name in ('torch', 'ase', 'matplotlib')))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert run.returncode == 0


def test_a_reader_that_goes_away_is_no_error() -> None:
    code = "import sys; from alrare.cli.parser import main; sys.exit(main(['template']))"
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    error = process.stderr.read()
    process.stderr.close()
    process.wait()
    assert b"Traceback" not in error


@pytest.mark.parametrize("command", ["template", "validate"])
def test_a_terminal_that_cannot_show_a_sign_gets_another(config: Path, command: str) -> None:
    config.write_text("# Ü\n" + config.read_text(), encoding="utf-8")
    words = [command] if command == "template" else [command, str(config)]
    run = subprocess.run(
        [sys.executable, "-m", "alrare", *words],
        env=os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        capture_output=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.isascii() and b"?" in run.stdout


@pytest.mark.parametrize(
    "arguments",
    [["label", "{0}", "./{0}", "--config", "al.toml"], ["select", "{0}", "model", "-o", "{0}"]],
)
def test_a_file_is_not_read_and_written_at_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "frames.xyz").write_text("1\n\nH 0 0 0\n")
    assert main([word.format("frames.xyz") for word in arguments]) == 1
    assert "is both read and written" in capsys.readouterr().err
    assert (tmp_path / "frames.xyz").read_text() == "1\n\nH 0 0 0\n"


def test_validate_warns_of_an_argument_that_the_calculator_may_ignore(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = config.read_text()
    for arguments, warns in (("{ epsilonn = 1.0 }", True), ("{ epsilon = 1.0 }", False)):
        calculator = 'program = "ase"\ncalculator = "ase.calculators.lj.LennardJones"'
        config.write_text(f"{base}\n[labeller]\n{calculator}\narguments = {arguments}\n")
        assert main(["validate", str(config)]) == 0
        found = "LennardJones lists no argument epsilonn" in capsys.readouterr().out
        assert found == warns
