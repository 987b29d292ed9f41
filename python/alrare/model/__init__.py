"""What a potential is: its networks, its files, its calculator, its errors."""

from .._exports import public_names

__getattr__, __dir__, __all__ = public_names(__name__, __file__)
