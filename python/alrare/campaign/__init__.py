"""The loop: explore, select, label, train, and know when to stop."""

from .._exports import public_names

__getattr__, __dir__, __all__ = public_names(__name__, __file__)
