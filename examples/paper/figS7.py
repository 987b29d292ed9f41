"""Fig. S7: other pulling rates, half to five times that of the training.

    python examples/paper/figS7.py [MODEL] [--labeller dftb3 --slater-koster DIR]

Hexane is pulled as far (3.25 Å) at 0.5, 1, 2 and 5 Å/ps by the labeller and by the model with the
same seeds. MODEL as in fig7.py. Paper: the model deviates a little and keeps the trend: faster
pulls need more energy and break at a longer distance.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from campaigns import Study, option_parser, run_figure
from figures import COMPARED, compared, draw_pulls, show_table

TAKES = {
    "fast": "7 minutes, and 20 more where the model has to be made first,",
    "paper": "7 minutes, and 7 hours where the model has to be made first,",
}
FACTORS = (0.5, 1.0, 2.0, 5.0)
"""Of the rate in al.toml, 1 Å/ps."""


def draw(study: Study, options: argparse.Namespace) -> None:
    """Make the figure."""
    model = study.model(options.model)
    structure, pull = study.relaxed(), study.pull
    panels = {}
    for factor in FACTORS:
        rate, steps = factor * pull.rate, round(pull.steps / factor)
        at_rate = pull.model_copy(update={"rate": rate, "steps": steps})
        name = f"rate_{rate:g}"
        labeller = study.pull_with_labeller(name, structure, at_rate)
        by_model = study.pull_with_model(model, name, structure, at_rate)
        panels[f"{rate:g} Å/ps"] = by_model, labeller
    draw_pulls(study.folder / "figS7", panels, columns=2)
    show_table(
        study,
        "figS7",
        ("rate", *COMPARED),
        [[name, *compared(*pulls)] for name, pulls in panels.items()],
        f"Model: {model}",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = option_parser(__doc__)
    parser.add_argument("model", nargs="?", type=Path, metavar="MODEL")
    return run_figure(draw, parser, takes=TAKES, arguments=arguments)


if __name__ == "__main__":
    sys.exit(main())
