"""The device that members are trained on."""

from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..errors import AlrareError

CPU = torch.device("cpu")
T = TypeVar("T")


def open_device(name: str, table: str = "train") -> torch.device:
    """Return the device that `device` of a table of al.toml names.

    Parameters
    ----------
    name : str
        cpu, cuda or cuda:N.
    table : str
        For the message.

    Raises
    ------
    AlrareError
        If it is not there.
    """
    device = torch.device(name)
    if device.type == "cpu":
        return device
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if count == 0:
        raise AlrareError(
            f'device = "{name}" ([{table}]): torch {torch.__version__} finds no CUDA device on this'
            ' machine; use device = "cpu", or install a torch with CUDA here'
        )
    if device.index is not None and device.index >= count:
        raise AlrareError(
            f'device = "{name}" ([{table}]): this machine has CUDA devices 0 to {count - 1}'
        )
    return device


def moved(value: T, device: torch.device) -> T:
    """Return a frozen dataclass with all its tensors on a device; itself if that is the CPU."""
    if device.type == "cpu" or not is_dataclass(value) or isinstance(value, type):
        return value
    changes: dict[str, Any] = {}
    for field in fields(value):
        content = getattr(value, field.name)
        if isinstance(content, Tensor):
            changes[field.name] = content.to(device)
        elif is_dataclass(content):
            changes[field.name] = moved(content, device)
    return replace(value, **changes)
