"""What each setting of our campaign is worth: variants that differ from it in one thing.

    python examples/paper/variants.py [VARIANT ...] [--repeats 3] [--iterations 3]

All start from the campaign of `make demo` (`ours.py`): 300 initial frames, 5 members, their mean
drives the pulls, labels spread over the pull and around its break. A repeat has other seeds for
the initial data, the splits and the weights. Pulls have the same seeds everywhere, so that the
labeller's are made once. Shown is the last iteration of each.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from campaigns import Study, iterations_of, merged, option_parser, run_figure
from figures import show_table
from ours import HEADINGS, OURS, cells

TAKES = {"fast": "7 minutes for each of 13 variants and each repeat", "paper": "many hours"}
ITERATIONS = 3
VARIANTS: dict[str, dict[str, Any]] = {
    "base": {},
    "members-3": {"model": {"members": 3}},
    "members-7": {"model": {"members": 7}},
    "best-drives": {"forces": "best"},
    "force-weight-0.1": {"train": {"force_weight": 0.1}},
    "frames-2000": {"initial": {"steps": 2000, "stride": 1}},
    "half-budget": {
        "initial": {"steps": 1500},
        "select": {"max_per_iteration": 15, "around_event": 24},
    },
    "none-at-rest": {"initial": {"at_rest": 0}},
    "no-copies": {"augment": {"copies": 0}},
    "no-around-break": {"select": {"around_event": 0, "max_per_iteration": 78}},
    "paper-selection": {
        "select": {
            "strategy": "paper",
            "max_per_run": 50,
            "max_per_iteration": 50,
            "around_event": 0,
            "after_event": "all",
        },
        "augment": {"first_iterations": "all"},
    },
    "force-std": {"select": {"uncertainty": "force"}},
    "relative": {"select": {"relative": 0.002, "relative_floor": 1.0}},
}
"""Changes to our campaign, by name."""


def repeated(name: str, repeat: int, reference: Path | None) -> dict[str, Any]:
    """Return the changes of one repeat, counted from 1."""
    seeds: dict[str, Any] = {"seed": repeat, "initial": {"seed": repeat}}
    known = {} if reference is None else {"reference": str(reference)}
    return merged(VARIANTS[name], seeds, known)


def read_variant(text: str) -> str:
    """Check a name for argparse."""
    if text not in VARIANTS:
        raise argparse.ArgumentTypeError(f"{text}: expected one of {', '.join(VARIANTS)}")
    return text


def draw(study: Study, options: argparse.Namespace) -> None:
    """Make the table."""
    ours = replace(study, base=merged(OURS, {"iterations": ITERATIONS}))
    base = study.folder / "base-1"
    table = []
    for name in options.variants or VARIANTS:
        for repeat in range(1, options.repeats + 1):
            own = f"{name}-{repeat}"
            known = base if own != base.name and (base / "reference").is_dir() else None
            run = ours.campaign(own, repeated(name, repeat, known))
            table.append([run.name, *cells(iterations_of(run)[-1])])
    show_table(study, "variants", ("variant", *HEADINGS), table)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = option_parser(__doc__)
    names = f"all unless given: {', '.join(VARIANTS)}"
    parser.add_argument("variants", nargs="*", type=read_variant, metavar="VARIANT", help=names)
    parser.add_argument("--repeats", type=int, default=1, metavar="N", help="of each (1)")
    return run_figure(draw, parser, takes=TAKES, arguments=arguments)


if __name__ == "__main__":
    sys.exit(main())
