import numpy as np
import pytest
from alrare.errors import SimulationError
from alrare.exploration.work import COLUMNS, mean_of, read_work

HEADER = "# " + " ".join(f"{name}/unit" for name in COLUMNS)


def write(path, rows, header=HEADER):
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_columns_are_read_by_name(tmp_path):
    names = ["energy_std", *COLUMNS]
    header = "# " + " ".join(f"{name}/(eV/angstrom)" for name in names)
    curve = read_work(
        write(tmp_path / "work.dat", ["0.5 0 6 6 0 0 -9 10", "1 1 7 8 2 3 -8 11"], header)
    )
    assert curve.energy_std is not None
    np.testing.assert_array_equal(curve.energy_std, [0.5, 1])
    np.testing.assert_array_equal(curve.distance, [6, 7])
    np.testing.assert_array_equal(curve.temperature, [10, 11])


def test_a_labellers_curve_has_no_spread(tmp_path):
    rows = [f"{n} 6 6 0 {work} -9 10" for n, work in enumerate([0, 2.5, 6.34, 6.1, "nan"])]
    curve = read_work(write(tmp_path / "work.dat", rows))
    assert np.nanmax(curve.work) == 6.34
    assert curve.energy_std is None


def test_a_cut_last_line_is_left_out(tmp_path):
    path = write(tmp_path / "work.dat", ["0 6 6 0 0 -9 10", "1 6 6 0 1 -9 10"])
    path.write_text(path.read_text() + "2 6 6 0")
    assert len(read_work(path).step) == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty"),
        (HEADER + "\n", "no step"),
        ("# step distance\n1 2\n", "expected a work file with columns"),
        ("1 2 3\n", "expected a header"),
        (HEADER + "\n1 2 three 4 5 6 7\n", "expected 7 numbers a row"),
        (HEADER + "\n1 2 3\n", "expected 7 columns, got 3"),
    ],
)
def test_a_foreign_work_file_is_refused(tmp_path, content, message):
    (tmp_path / "work.dat").write_text(content)
    with pytest.raises(SimulationError, match=message):
        read_work(tmp_path / "work.dat")


def test_a_missing_work_file_is_named(tmp_path):
    with pytest.raises(SimulationError, match="no table of a run"):
        read_work(tmp_path / "work.dat")


def test_the_mean_says_how_sure_it_is():
    mean = mean_of([1.0, 2.0, 4.0])
    assert (mean.mean, mean.n) == (pytest.approx(7 / 3), 3)
    assert mean.sem == pytest.approx(np.std([1, 2, 4], ddof=1) / np.sqrt(3))
    assert mean_of([6.34]).sem is None
    with pytest.raises(ValueError, match="at least one pull"):
        mean_of([])
