"""Active learning of neural-network potentials for rare events, inside LAMMPS."""

__version__ = "0.1.0"
