"""Counts what a piece of work asks of a device, on a CPU or on the meta device."""

import weakref
from collections import Counter
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# The host needs values of the device to go on.
READS = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "equal"}
BY_INDEX = {"index", "index_put", "index_put_", "_index_put_impl_"}
COPIES = {"copy_", "_to_copy"}
ALIASES = {"detach", "alias", "lift_fresh"}


class Counting(TorchDispatchMode):
    """operations: those dispatched, by name, but for views. waits: where a GPU's host would wait.

    peak: most bytes alive at once of what was made meanwhile. traffic: bytes that the operations
    read and wrote.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operations: Counter[str] = Counter()
        self.waits: list[str] = []
        self.alive: dict[int, int] = {}  # bytes, by storage
        self.peak = self.traffic = 0

    @property
    def count(self) -> int:
        return self.operations.total()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        result = function(*args, **kwargs or {})
        name = function.overloadpacket.__name__
        given, made = list_tensors((args, kwargs)), list_tensors(result)
        if waits(name, args, kwargs or {}, given + made):
            self.waits.append(str(function))
        if not function.is_view and name not in ALIASES:
            self.operations[name] += 1
            self.traffic += sum(tensor.numel() * tensor.element_size() for tensor in given + made)
            self.remember(made, given)
        return result

    def remember(self, made: list[Tensor], given: list[Tensor]) -> None:
        """Adds the storages of `made` that are new, until they are freed."""
        known = {tensor.untyped_storage()._cdata for tensor in given}
        for storage in (tensor.untyped_storage() for tensor in made):
            key = storage._cdata
            if key not in known and key not in self.alive:
                self.alive[key] = storage.nbytes()
                weakref.finalize(storage, self.alive.pop, key, None)
        self.peak = max(self.peak, sum(self.alive.values()))


def list_tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def waits(name: str, args: Any, kwargs: dict[str, Any], tensors: list[Tensor]) -> bool:
    """Whether a GPU's host would wait: it reads values, or copies to or from the device.

    It does not for a copy that is asked not to block, nor for a number that a kernel takes as its
    argument.
    """
    if name in READS:
        return True
    if name in BY_INDEX and {t.dtype for t in list_tensors(args[1])} & {torch.bool, torch.uint8}:
        return True
    numbers = name not in COPIES
    devices = {t.device.type for t in tensors if t.dim() or not (numbers and t.is_cpu)}
    return len(devices) > 1 and not kwargs.get("non_blocking", False)
