"""Make the polynomials of simd.h: weighted minimax fits by Lawson's iteration, in float64.

    python make_polynomials.py           print each polynomial, highest power first
    python make_polynomials.py --check   compare with simd.h; fails when one is not of this script

Lawson's iteration repeats a least-squares fit; after each round every point's weight is multiplied
by its error, so that the largest errors become equal. The kernels round the coefficients to
float32.
"""

import argparse
import math
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
POINTS = 4001
ROUNDS = 60
SIMD = Path(__file__).with_name("simd.h")


@dataclass(frozen=True)
class Fit:
    """A function on an interval, and the polynomial that stands for it in a kernel."""

    kernel: str
    """The function of simd.h, and the variable that its Horner scheme sums into."""
    variable: str
    first: float
    last: float
    degree: int
    target: Callable[[Array], Array]
    weight: Callable[[Array], Array]
    """The error that counts is `weight` times that of the polynomial."""
    claim: float
    """Largest weighted error that simd.h may have."""
    whole: bool = True
    """False: the constant, 1 within the error, is left out of the kernel's polynomial."""


def _log2_slope(f: Array) -> Array:
    return np.log2(1.0 + f) / f


def _sine_over_y(u: Array) -> Array:
    y = np.sqrt(u)
    return np.where(u == 0.0, 1.0, np.sin(y) / np.where(u == 0.0, 1.0, y))


def _density(x: Array) -> Array:
    return np.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)


def _mills_ratio(x: Array) -> Array:
    tail = [0.5 * math.erfc(value / math.sqrt(2.0)) for value in x]
    return np.array(tail) / _density(x)


QUARTER = (0.5 * math.pi) ** 2
FITS = (
    # 2^f, relative
    Fit("exp2_negative", "p", -0.5, 0.5, 5, np.exp2, lambda f: np.exp2(-f), 1e-7),
    # log2(1 + f) / f, relative
    Fit(
        "log2_of",
        "p",
        math.sqrt(0.5) - 1.0,
        math.sqrt(2.0) - 1.0,
        8,
        _log2_slope,
        lambda f: 1.0 / _log2_slope(f),
        1e-7,
    ),
    # sin(y) / y of u = y^2, relative
    Fit(
        "sine_cosine", "s", 0, QUARTER, 4, _sine_over_y, lambda u: 1 / _sine_over_y(u), 2e-8, False
    ),
    # cos(y) of u = y^2, absolute
    Fit("sine_cosine", "c", 0, QUARTER, 5, lambda u: np.cos(np.sqrt(u)), np.ones_like, 1e-9, False),
    # Phi(-x) / phi(x); GELU wants phi(x) times it to 1e-7 max(1, x)
    Fit("gelu", "r", 0.0, 5.5, 11, _mills_ratio, lambda x: _density(x) * np.maximum(1.0, x), 1e-7),
)


def points(fit: Fit) -> Array:
    """Return the points of the fit, (N,): denser at the ends, without 0 for log2(1 + f) / f."""
    middle, half = 0.5 * (fit.first + fit.last), 0.5 * (fit.last - fit.first)
    x = middle - half * np.cos(np.linspace(0.0, math.pi, POINTS))
    return x[np.abs(x) > 1e-12] if fit.kernel == "log2_of" else x


def errors(fit: Fit, x: Array, coefficients: Array) -> Array:
    """Return the weighted errors (N,) of a polynomial, lowest power first."""
    difference = np.polynomial.polynomial.polyval(x, coefficients) - fit.target(x)
    return np.abs(fit.weight(x) * difference)


def lawson(fit: Fit) -> Array:
    """Return the coefficients of the fit, lowest power first."""
    x = points(fit)
    powers = np.polynomial.polynomial.polyvander(x, fit.degree)
    target, weight = fit.target(x), fit.weight(x)
    importance = np.ones_like(x)
    coefficients = np.zeros(fit.degree + 1)
    for _ in range(ROUNDS):
        scale = np.sqrt(importance) * weight
        coefficients = np.linalg.lstsq(powers * scale[:, None], target * scale, rcond=None)[0]
        importance *= np.abs(weight * (powers @ coefficients - target))
        importance *= len(x) / importance.sum()
    return coefficients if fit.whole else np.concatenate([[1.0], coefficients[1:]])


def committed(fit: Fit, text: str) -> Array:
    """Return the coefficients in simd.h, lowest power first."""
    body = re.search(rf"ALRARE_INLINE \w+ {fit.kernel}\(.*?\n}}\n", text, re.DOTALL)
    if body is None:
        sys.exit(f"{SIMD}: no function {fit.kernel}")
    name = fit.variable
    steps = rf"V {name} = splat<V>\((.*?)f\);|{name} = {name} \* \w+ ([+-]) (.*?)f;"
    values = []
    for first, sign, value in re.findall(steps, body.group()):
        values.append(float(first) if first else float(sign + value))
    return np.array(values[::-1] if fit.whole else [1.0, *values[::-1]])


def check() -> bool:
    """Compare simd.h with new fits; print the largest errors of both."""
    text, good = SIMD.read_text(), True
    for fit in FITS:
        made, found, x = lawson(fit), committed(fit, text), points(fit)
        name = f"{fit.kernel}, {fit.variable}"
        if len(made) != len(found):
            sys.exit(f"{name}: expected {len(made)} coefficients in simd.h, found {len(found)}")
        equal = int((made.astype(np.float32) == found.astype(np.float32)).sum())
        largest = float(errors(fit, x, found).max())
        print(
            f"{name}: {equal} of {len(made)} coefficients equal in float32; largest error"
            f" {largest:.3e} in simd.h, {errors(fit, x, made).max():.3e} here, claimed {fit.claim}"
        )
        good &= largest <= fit.claim and np.allclose(made, found, rtol=1e-7, atol=0.0)
    return good


def main() -> None:
    """Print the polynomials, or check those of simd.h."""
    parser = argparse.ArgumentParser(description="The polynomials of simd.h.")
    parser.add_argument("--check", action="store_true", help="compare with simd.h")
    if parser.parse_args().check:
        sys.exit(0 if check() else 1)
    for fit in FITS:
        coefficients = lawson(fit)[0 if fit.whole else 1 :]
        print(
            f"{fit.kernel}, {fit.variable}:", *map(repr, map(float, coefficients[::-1])), sep="\n  "
        )


if __name__ == "__main__":
    main()
