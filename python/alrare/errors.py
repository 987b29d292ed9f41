"""The errors that alrare raises on purpose; each message is one sentence that a user can act on."""

import errno


class AlrareError(Exception):
    """An error the user can cure; the message says where, what was expected, and what to do."""


class ConfigError(AlrareError):
    """The configuration file is not valid."""


class LabelError(AlrareError):
    """A label could not be computed, or too many labels of a batch failed."""


class SimulationError(AlrareError):
    """LAMMPS could not be started, or it ended without usable output."""


class BlownUpError(SimulationError):
    """The structure of a LAMMPS run blew up: atoms flew apart, or a number became NaN."""


class UnstableModelError(SimulationError):
    """No pull by a model made a single step: the molecule blew up at rest."""


class ProcessLostError(AlrareError):
    """A process ended without an answer: killed from outside, or out of memory."""


class ModelError(AlrareError):
    """A model file is missing, damaged, of another format, or does not fit the structure."""


def disk_error(target: object, error: OSError) -> AlrareError:
    """Return the error for a file or folder that the disk refused to write."""
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        cure = "a file stands where a folder is needed: give another name, or move that file"
    elif error.errno == errno.EISDIR:
        cure = "a folder stands where a file is needed: give another name, or move that folder"
    elif error.errno in (errno.ENOSPC, errno.EDQUOT):
        cure = "free space"
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        cure = "fix the permissions"
    else:
        cure = "free space or fix the permissions"
    return AlrareError(
        f"{target}: could not be written ({error.strerror or error}); {cure}, then run the same"
        " command again: nothing finished is lost"
    )
