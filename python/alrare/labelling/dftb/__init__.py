"""DFTB+ as a labeller: what is asked of the program, and the ways to run it."""
