"""DFTB+ as a labeller: its input, and the ways to run the program."""
