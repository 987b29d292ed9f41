"""The errors that alrare raises on purpose: one clean sentence each, for a person to act on."""


class AlrareError(Exception):
    """Something the user can cure; the message says where, expected, got, and what to do."""


class ConfigError(AlrareError):
    """The configuration file is not valid."""


class LabelError(AlrareError):
    """A label could not be made, or too few labels of a batch could."""


class SimulationError(AlrareError):
    """LAMMPS could not be started or ended without usable output."""


class BlownUpError(SimulationError):
    """The structure of a LAMMPS run blew up, or a number in it is no longer one."""


class UnstableModelError(SimulationError):
    """No pull by a model made a single step: its molecule blew up at rest."""


class ProcessLostError(AlrareError):
    """A process ended without an answer: killed from outside, or out of memory."""


class ModelError(AlrareError):
    """A model file is missing, foreign, damaged or does not fit the structure."""


def disk_error(target: object, error: OSError) -> AlrareError:
    """Return the error for a file or folder that the disk refused to write."""
    return AlrareError(
        f"{target}: could not be written ({error.strerror or error}); free space or fix the"
        " permissions, then run the same command again: nothing finished is lost"
    )
