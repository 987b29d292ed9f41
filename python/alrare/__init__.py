"""Active learning of neural-network potentials for rare events, inside LAMMPS."""

from ._exports import public_names

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = public_names(__name__, __file__)
