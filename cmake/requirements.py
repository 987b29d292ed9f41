"""Print what pyproject.toml asks for, one requirement a line.

Its arguments are `dependencies`, `build-system`, which a build needs, and extras by name. Called by
make, which installs each set when a target first needs it.
"""

import sys
import tomllib
from pathlib import Path

if __name__ == "__main__":
    content = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))
    project = content["project"]
    sets = {
        "dependencies": project["dependencies"],
        "build-system": content["build-system"]["requires"],
        **project["optional-dependencies"],
    }
    for name in sys.argv[1:]:
        print(*(requirement.replace(" ", "") for requirement in sets[name]), sep="\n")
