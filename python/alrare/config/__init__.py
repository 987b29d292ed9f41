"""The configuration of a campaign: al.toml, read once, strict, with units in every field.

The defaults are the settings that docs/results.md found best; the protocol of the paper is
`alrare template --protocol paper`.
"""

from .arguments import STATE_ARGUMENTS
from .cluster import Cluster, Machines
from .explore import Explore, Observable, title_of
from .labeller import Labeller
from .messages import explain
from .reading import Labelling, load_config, load_labelling, parse_config
from .selection import Augment, Select
from .tables import Config, InitialData, Pull, Run, Stop, System, tables
from .training import FAMILY_RECIPES, RECIPES, Model, Train, train_in_campaign
from .types import Section, SetBy, read_numbers, set_by

__all__ = [
    "FAMILY_RECIPES",
    "RECIPES",
    "STATE_ARGUMENTS",
    "Augment",
    "Cluster",
    "Config",
    "Explore",
    "InitialData",
    "Labeller",
    "Labelling",
    "Machines",
    "Model",
    "Observable",
    "Pull",
    "Run",
    "Section",
    "Select",
    "SetBy",
    "Stop",
    "System",
    "Train",
    "explain",
    "load_config",
    "load_labelling",
    "parse_config",
    "read_numbers",
    "set_by",
    "tables",
    "title_of",
    "train_in_campaign",
]
