"""Settings of Sphinx: `make docs` builds the site in build/docs, without a network."""

import logging
import sys
from pathlib import Path

from alrare import __version__

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "alrare"
author = "alrare developers"
release = version = __version__
root_doc = "index"
# README.md is the index on a code host; index.md includes it.
exclude_patterns = ["README.md", "_ext"]
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "pages_from_code"]

default_role = "code"  # `name` in a docstring
# Pages with code cells are run at every build; what they write on standard error is a warning.
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 120
nb_output_stderr = "warn"
logging.getLogger("traitlets").setLevel(logging.WARNING)  # it names each page that it runs

myst_heading_anchors = 4
myst_enable_extensions = ["deflist"]
highlight_language = "none"  # of blocks that name none: commands, LAMMPS inputs, tables
smartquotes = False  # text in quotes is often something to type
suppress_warnings = ["myst.header"]

# Address of the folder of the repository on a code host, ending in a slash. Links to files outside
# docs/ lead there; without it they are their text and the path.
repository_url = ""
# Files outside docs/ that a page includes. The pages of examples/NAME/ are as deep in the tree as
# these, so that links in them lead to the same files.
pages_of_files = {
    "README.md": "index",
    "docs/README.md": "index",
    "CHANGELOG.md": "changes",
    "CONTRIBUTING.md": "contributing",
    **{
        f"examples/{name}/README.md": f"examples/{name}"
        for name in ("graphene", "lammps_inputs", "malonaldehyde", "own_network", "paper")
    },
}

nitpicky = True
# Types in signatures that are not public, or of other packages, whose documentation is not read:
# the build needs no network.
nitpick_ignore_regex = [("py:class", ".*")]

# Signatures keep their types; parameters are explained as the docstrings have them.
napoleon_google_docstring = False
napoleon_use_param = False
napoleon_use_rtype = False
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_title = f"alrare {__version__}"
html_copy_source = False
html_math_renderer = "mathml"
html_show_sphinx = False
html_show_copyright = False
