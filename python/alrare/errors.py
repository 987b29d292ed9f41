"""The errors that alrare raises on purpose: one clean sentence each, for a person to act on."""


class AlrareError(Exception):
    """Something the user can cure; the message says where, expected, got, and what to do."""


class ConfigError(AlrareError):
    """The configuration file is not valid."""


class LabelError(AlrareError):
    """A label could not be made, or too few labels of a batch could."""


class SimulationError(AlrareError):
    """LAMMPS could not be started or ended without usable output."""


class UnstableModelError(SimulationError):
    """No pull by a model made a single step: its molecule blew up at rest."""


class ModelError(AlrareError):
    """A model file is missing, foreign, damaged or does not fit the structure."""
