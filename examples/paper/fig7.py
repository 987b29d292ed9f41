"""Fig. 7: the hexane model pulls other chains, C2 to C11.

    python examples/paper/fig7.py [MODEL] [--chains 2-11] [--labeller dftb3 --slater-koster DIR]

Each all-trans chain is built, relaxed by the labeller, and pulled between its terminal carbons by
the labeller and by the model with the same seeds. MODEL: an iteration's folder or a model file;
the last one of the campaign with inherited splits and 7 members, which is run if it is not there,
unless given. Paper: only C7 and C8 are good beside C6.

Chains longer than hexane are pulled farther, in proportion to their bonds.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from alrare.campaign import relaxed_structure
from alrare.config import Pull
from alrare.labelling import method_of
from alrare.structure import elements_of
from ase import Atoms
from campaigns import Study, option_parser, read_range, run_figure
from chains import alkane
from figures import COMPARED, compared, draw_pulls, show_table

TAKES = {
    "fast": "40 minutes, and 20 more where the model has to be made first,",
    "paper": "40 minutes, and 7 hours where the model has to be made first,",
}


def chain_pull(pull: Pull, n: int) -> Pull:
    """Return the pull of a chain of n carbons: its ends, no shorter than hexane's, by its bonds."""
    bonds = max(pull.atoms) - min(pull.atoms)
    steps = round(pull.steps * max(1.0, (n - 1) / bonds))
    return pull.model_copy(update={"atoms": (1, n), "steps": steps})


def read_chains(text: str) -> list[int]:
    """Read `2-11` or `6,7` for argparse."""
    chains = read_range(text)
    if min(chains, default=0) < 2:
        raise argparse.ArgumentTypeError(f"{text}: a chain has at least 2 carbons")
    return chains


def relaxed_chain(study: Study, n: int) -> Atoms:
    """Return a chain relaxed by the labeller."""
    structure, labeller = alkane(n), study.settings.labeller
    return relaxed_structure(
        structure=structure,
        labeller=labeller,
        folder=study.root / "labeller" / f"C{n}",
        method=method_of(labeller, elements_of(structure)).hash,
        workers=1,
        progress=study.progress,
    )


def draw(study: Study, options: argparse.Namespace) -> None:
    """Make the figure."""
    model = study.model(options.model)
    panels = {}
    for n in options.chains or ((2, 3) if options.trial else range(2, 12)):
        structure, pull = relaxed_chain(study, n), chain_pull(study.pull, n)
        labeller = study.pull_with_labeller(f"C{n}", structure, pull)
        panels[f"C{n}"] = study.pull_with_model(model, f"C{n}", structure, pull), labeller
    draw_pulls(study.folder / "fig7", panels, columns=5)
    show_table(
        study,
        "fig7",
        ("chain", *COMPARED),
        [[name, *compared(*pulls)] for name, pulls in panels.items()],
        f"Model: {model}",
        "Paper: of the chains that are not hexane only C7 and C8 are good.",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = option_parser(__doc__)
    parser.add_argument("model", nargs="?", type=Path, metavar="MODEL")
    parser.add_argument("--chains", type=read_chains, metavar="2-11", help="numbers of carbons")
    return run_figure(draw, parser, takes=TAKES, arguments=arguments)


if __name__ == "__main__":
    sys.exit(main())
