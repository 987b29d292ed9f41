"""From a configuration to a label that may be trusted."""

from .._exports import public_names

__getattr__, __dir__, __all__ = public_names(__name__, __file__)
