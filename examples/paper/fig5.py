"""Fig. 5: active learning with inherited splits and 3, 5 and 7 members.

    python examples/paper/fig5.py [--recipe paper] [--labeller dftb3 --slater-koster DIR]

Paper: with more members the error of the activation energy fluctuates less; 3 members come to
about 0.2 eV, 7 below 0.0434 eV (1 kcal/mol).
"""

import argparse
import sys
from collections.abc import Sequence
from itertools import zip_longest

from alrare.exploration import draw_abs_errors
from alrare.tables import with_sem
from campaigns import Study, iterations_of, option_parser, run_figure
from figures import BLUE, GREEN, RED, drawing, show_table

TAKES = {"fast": "40 minutes", "paper": "14 hours"}
MEMBERS = {3: BLUE, 5: GREEN, 7: RED}


def draw(study: Study, options: argparse.Namespace) -> None:
    """Make the figure."""
    runs = {members: iterations_of(study.learn("inherited", members)) for members in MEMBERS}
    with drawing(study.folder / "fig5", width=10.0, height=3.6) as figure:
        panels = figure.subplots(1, len(MEMBERS), sharey=True)
        for axes, (members, color) in zip(panels, MEMBERS.items(), strict=True):
            draw_abs_errors(axes, {f"{members} members": runs[members]}, colors=[color])
            axes.label_outer()
        low, high = zip(*(axes.get_ylim() for axes in panels), strict=True)
        panels[0].set_ylim(min(low), max(high))
    table = [
        [
            str(number),
            *(
                "-" if row is None else with_sem(row["error"], row["error_sem"], "+")
                for row in rows
            ),
        ]
        for number, rows in enumerate(zip_longest(*runs.values()))
    ]
    show_table(
        study,
        "fig5",
        ("iteration", *(f"error, {members} members (eV)" for members in MEMBERS)),
        table,
        "Paper: the last errors are about 0.2 eV with 3 members, below 0.0434 eV with 7.",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    return run_figure(draw, option_parser(__doc__), takes=TAKES, arguments=arguments)


if __name__ == "__main__":
    sys.exit(main())
