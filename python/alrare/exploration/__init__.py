"""Driving a system towards its rare event, by a model or by the labeller."""

from .._exports import public_names

__getattr__, __dir__, __all__ = public_names(__name__, __file__)
