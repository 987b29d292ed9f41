"""Files that are whole or not there, whatever happens while they are written."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from alrare.errors import AlrareError
from alrare.files import atomic_path, read_json, write_json, write_text


def test_what_is_written_is_read_back_and_nothing_else_stays(tmp_path: Path) -> None:
    content = {"energies": [1.5, -0.25], "name": "Å", "none": None}
    write_json(tmp_path / "new folder" / "results.json", content)
    assert read_json(tmp_path / "new folder" / "results.json") == content
    assert [path.name for path in (tmp_path / "new folder").iterdir()] == ["results.json"]


def test_the_temporary_path_has_the_folder_and_the_suffix_of_the_target(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "curve.png") as partial:
        assert partial.parent == tmp_path and partial.suffix == ".png"
        partial.touch()
        assert not (tmp_path / "curve.png").exists()


def test_a_writer_killed_half_way_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "results.json"
    write_text(target, "old")
    code = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from alrare.files import atomic_path\n"
        "with atomic_path(Path(sys.argv[1])) as partial:\n"
        "    partial.write_text('half of the n')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(target)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert target.read_text() == "old"
    write_text(target, "new")
    assert target.read_text() == "new"


def test_a_folder_is_no_file_and_a_file_no_folder(tmp_path: Path) -> None:
    with pytest.raises(AlrareError, match="a folder stands where a file is needed"):
        write_text(tmp_path, "text")
    (tmp_path / "file").touch()
    with pytest.raises(AlrareError, match="a file stands where a folder is needed"):
        write_text(tmp_path / "file" / "text", "text")


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_writer_that_fails_leaves_the_old_file_and_no_partial_one(
    tmp_path: Path, error: type[BaseException]
) -> None:
    target = tmp_path / "results.json"
    write_text(target, "old")
    with pytest.raises(error), atomic_path(target) as partial:
        partial.write_text("half of the n")
        raise error
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_number_that_json_does_not_have_is_refused_and_the_old_file_stays(
    tmp_path: Path,
) -> None:
    target = tmp_path / "results.json"
    write_json(target, [1.0])
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(target, [float("nan")])
    assert read_json(target) == [1.0]


def refused(target: Path) -> str:
    with pytest.raises(AlrareError) as caught:
        write_text(target, "text")
    message = str(caught.value)
    assert message.startswith(f"{target}: could not be written (")
    assert "\n" not in message and len(message) < 300 + len(str(target))
    return message


def test_a_disk_that_refuses_is_one_sentence_with_its_cure(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    message = refused(tmp_path / "file" / "results.json")
    assert "then run the same command again: nothing finished is lost" in message
    (tmp_path / "results.json").mkdir()
    refused(tmp_path / "results.json")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full is not there")
def test_a_full_disk_is_told_in_the_words_of_the_system(tmp_path: Path) -> None:
    refused = pytest.raises(AlrareError, match=r"No space left on device\); free space")
    with refused, atomic_path(tmp_path / "results.json"):
        Path("/dev/full").write_text("text")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", ["", "{", "half of the n"])
def test_a_file_that_is_no_json_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(content)
    with pytest.raises(AlrareError, match=r"results\.json: damaged: expected JSON"):
        read_json(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(AlrareError, match=r"results\.json: cannot be read \(No such file"):
        read_json(tmp_path / "results.json")
