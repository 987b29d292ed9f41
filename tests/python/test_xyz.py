"""XYZ files in any clothes, and what their damage is called."""

import gzip
from pathlib import Path

import pytest
from alrare.errors import AlrareError
from alrare.frames import read_frames

FRAMES = """2
first
H 0 0 0
O 0 0 0.9
1
second
C 1 2 3
"""


def read(tmp_path: Path, content: bytes, name: str = "a.xyz") -> list[str]:
    (tmp_path / name).write_bytes(content)
    return [str(frame.symbols) for frame in read_frames(tmp_path / name)]


@pytest.mark.parametrize(
    "content",
    [
        FRAMES.encode(),
        FRAMES.encode("utf-8-sig"),
        FRAMES.replace("\n", "\r\n").encode(),
        (FRAMES + "\n\n  \n").encode(),
        FRAMES.replace("first", "author=Müller").encode(),
    ],
    ids=["plain", "byte-order mark", "crlf", "blank lines at the end", "utf-8"],
)
def test_a_sound_file_is_read(tmp_path: Path, content: bytes) -> None:
    assert read(tmp_path, content) == ["HO", "C"]
    assert read(tmp_path, gzip.compress(content), "a.xyz.gz") == ["HO", "C"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (FRAMES[:-8].encode(), "frame 2: expected 1 atoms, got 0: the file is cut off"),
        (FRAMES.replace("0.9", "0").encode()[:-4], "frame 2, line 7: expected an element and"),
        (FRAMES.replace("0.9", "0,9").encode(), "frame 1, line 4: expected a number, got '0,9'"),
        (FRAMES.replace("0.9", "0.9D+00").encode(), "write exponents with E"),
        (FRAMES.replace("1\nsecond", "x\nsecond").encode(), "frame 2, line 5: expected the number"),
        (FRAMES.replace("first", "author=Müller").encode("latin-1"), "line 2: expected UTF-8 text"),
        (b"", "expected at least one frame with atoms"),
    ],
)
def test_damage_is_told_with_its_frame_and_line(
    tmp_path: Path, content: bytes, message: str
) -> None:
    with pytest.raises(AlrareError) as caught:
        read(tmp_path, content)
    assert message in str(caught.value) and str(tmp_path / "a.xyz") in str(caught.value)


def test_a_cut_compressed_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(AlrareError, match=r"a\.xyz\.gz: cannot be read"):
        read(tmp_path, gzip.compress(FRAMES.encode())[:-9], "a.xyz.gz")
