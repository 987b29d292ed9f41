"""The terms of the page: what a reader is told who rests on a word.

The texts are those of docs/glossary.md, which a test compares.
"""

from collections.abc import Collection

TERMS = {
    "activation energy, E_a": (
        "maximum of the work that the spring does in a pull until it is slack after the event, eV;"
        " of several pulls the mean ± standard error"
    ),
    "around the event": (
        "the MD steps before and after the event of a pull from which configurations are labelled"
        " whatever their uncertainty"
    ),
    "at rest": (
        "at the minimum of the energy, where a pull starts; labels at rest are those of the relaxed"
        " structure and noisy copies of it"
    ),
    "barrier error": (
        "error of a model in that barrier on the test pulls, mean absolute value, eV"
    ),
    "barrier": (
        "energy of the highest configuration before the event relative to the first one of the"
        " same pull, eV"
    ),
    "calibrated spread": "spread times the factor of the model's calibration: an error",
    "calibration": (
        "comparison of spread and error on labels that the ensemble was not trained on, and the"
        " factors that it gives; a ratio of error to spread above 1 means over-confident"
    ),
    "candidate": "a configuration that fix al_select wrote: it may be labelled",
    "collective variable, cv": (
        "the quantity that says how far a pull is: the distance of the pulled atoms"
    ),
    "energy_std": "standard deviation of the members' energies, M − 1 in the divisor, eV",
    "ensemble": "M networks trained on different splits of the same data",
    "error": "value of the model minus that of the labeller, over the same seeds",
    "event": (
        "the first moment at which a bond of a pull breaks (it is 1.45 times as long as in the"
        " first configuration) or forms (its atoms are bonded and were 1.45 times as far apart)"
    ),
    "initial data": "the labeller's MD before any model exists: the first training data",
    "iteration": "train, simulate, label, evaluate; iteration 0 is the initial model",
    "label": "energy (eV) and forces (eV/Å) of a configuration by the labeller",
    "labeller": (
        "the electronic-structure method that gives labels: tblite, DFTB+ or an ASE calculator"
    ),
    "MAE": ("mean absolute error: of relative energies (meV), or of all force components (meV/Å)"),
    "member": "one network of an ensemble; counted from 1 in LAMMPS, from 0 in files",
    "model": "an ensemble in its files ensemble.safetensors and ensemble.pt",
    "noisy copy": "a configuration with uniform noise on every coordinate",
    "observable": (
        "the quantity that a campaign is about: the activation energy of pulls, or what [[explore]]"
        " names"
    ),
    "pull": "steered MD: a spring between two atoms is lengthened at a constant rate",
    "reference": "the labeller's relaxation, MD and pulls of a campaign",
    "relative energy": (
        "energy after the offset of its composition is subtracted; its mean absolute error (MAE) is"
        " what alrare evaluate and the tables print"
    ),
    "seed": (
        "number that the random velocities and the noise of a run follow from; model and labeller"
        " run with the same seeds"
    ),
    "settled": "the activation energy has changed little several times in a row",
    "spread": (
        "rms energy_std or force_std over several configurations; also the strategy that takes"
        " candidates at every distance"
    ),
    "standard error": (
        "how far the mean over the seeds is expected to be from that over very many: the scatter of"
        " the seeds divided by the square root of their number; written after ±"
    ),
    "test pulls": "the labeller's own pulls, which no model is trained on",
    "threshold": "the uncertainty above which a configuration is a candidate",
    "unphysical": (
        "not a configuration to label: too large an uncertainty, atoms too close, or a number that"
        " is not finite"
    ),
    "work": "energy that the moving end of the spring has put in, eV",
}
"""What each term means, in the words of docs/glossary.md."""

HEADINGS = {
    "iter": "iteration",
    "labels": "label",
    "threshold": "threshold",
    "selected": "candidate",
    "unphysical": "unphysical",
    "calibrated": "calibrated spread",
    "error": "error",
    "barrier error": "barrier error",
    "test MAE": "MAE",
    "E_a": "activation energy, E_a",
}
"""The term that a heading of the table begins with."""


def term_of(heading: str, observables: Collection[str] = ()) -> str | None:
    """Return the term that a heading of the table is about; None if it needs no explanation.

    Parameters
    ----------
    heading : str
        "barrier error (meV)".
    observables : collection of str
        Symbols of observables: a heading may begin with one.
    """
    begins = [begin for begin in HEADINGS if heading.startswith(begin)]
    if begins:
        return HEADINGS[max(begins, key=len)]
    return "observable" if heading.startswith(("observable", *observables)) else None


def place(term: str) -> str:
    """Return the name of a term's place on the page: `term-test-pulls`."""
    return "term-" + "".join(c if c.isalnum() else "-" for c in term.partition(",")[0].lower())
