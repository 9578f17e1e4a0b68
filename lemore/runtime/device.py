"""The device that a process computes on."""

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import torch

DeviceName = Literal["auto", "cpu", "cuda"]


def choose_device(name: DeviceName) -> "torch.device":
    """Returns a device by name; auto is the GPU if torch sees one. ValueError if it does not."""
    import torch  # a command's help is read without it

    has_gpu = torch.cuda.is_available()
    if name == "cuda" and not has_gpu:
        raise ValueError(
            "a GPU is asked for, but torch sees none on this machine; `lemore doctor` says more"
        )
    return torch.device("cuda" if has_gpu and name != "cpu" else "cpu")
