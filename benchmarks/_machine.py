"""What the figures of a benchmark were measured with."""

import os
import platform
from typing import Any

import ase
import torch
from alrare import __version__


def machine() -> dict[str, Any]:
    """Return the load of the machine and the versions, as keys of a JSON line."""
    return {
        "load": round(os.getloadavg()[0], 1),
        "versions": {
            "alrare": __version__,
            "torch": torch.__version__,
            "ase": ase.__version__,
            "python": platform.python_version(),
        },
    }
