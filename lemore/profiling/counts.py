"""Parameters and multiply-accumulates, per module, without computing: on the meta device.

Two totals, because published GFLOPs come from different counters:
macs            convolution + linear + matrix products, one per multiply-accumulate; half of what
                PyTorch's FlopCounterMode reports.
fvcore_total    the same plus norms, pooling and upsampling by fvcore's rules.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from lemore.config.size import Size

aten = torch.ops.aten

MEMORY_ONLY = {aten.empty, aten.clone, aten.copy_, aten.cat, aten._unsafe_view, aten._to_copy}


@dataclass(frozen=True)
class Complexity:
    """The cost of one image.

    params: trainable and frozen parameters of the whole model.
    modules: name -> {"params", "macs"} of each module and all below it; "" is the model.
    uncounted: operator -> calls, for operators that compute but add to neither total.
    """

    params: int
    macs: int
    fvcore_total: int
    modules: dict[str, dict[str, int]]
    uncounted: dict[str, int]


def count(model: nn.Module, input_size: Size) -> Complexity:
    """Counts a model that lies on the meta device, in eval mode, for one image (H, W).

    Attention runs as plain matrix products: fused kernels would count nothing.
    """
    devices = {tensor.device.type for tensor in model.parameters()}
    assert devices <= {"meta"}, f"build the model under torch.device('meta'), not on {devices}"
    image = torch.zeros(1, 3, *input_size, device="meta")
    was_training = model.training
    counting = _Counting(model.eval())
    try:
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counting:
            model(image)
    finally:
        for hook in counting.hooks:
            hook.remove()
        model.train(was_training)
    params = {name: sum(p.numel() for p in m.parameters()) for name, m in model.named_modules()}
    return Complexity(
        params=params[""],
        macs=counting.macs[""],
        fvcore_total=counting.macs[""] + counting.extra,
        modules={n: {"params": number, "macs": counting.macs[n]} for n, number in params.items()},
        uncounted=dict(counting.uncounted.most_common()),
    )


class _Counting(TorchDispatchMode):
    """Adds every operator's cost to the modules that are running when it is called."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.macs: Counter[str] = Counter()
        self.uncounted: Counter[str] = Counter()
        self.extra = 0
        self.running: list[str] = []
        self.hooks: list[Any] = []
        for name, module in model.named_modules():
            enter = partial(self._enter, name)
            self.hooks.append(module.register_forward_pre_hook(enter))
            self.hooks.append(module.register_forward_hook(self._leave, always_call=True))

    def _enter(self, name: str, *_: Any) -> None:
        self.running.append(name)

    def _leave(self, *_: Any) -> None:
        self.running.pop()

    def _add(self, macs: int) -> None:
        for name in set().union(*map(_list_parents, self.running)):
            self.macs[name] += macs

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        operator = func._overloadpacket
        if operator in flop_registry:
            self._add(flop_registry[operator](*args, **kwargs, out_val=out) // 2)
        elif str(operator) == "torchvision.deform_conv2d":
            self._add(out.numel() * args[1][0].numel())  # as the convolution it is
        elif operator in FVCORE_RULES:
            self.extra += FVCORE_RULES[operator](args, out)
        elif not func.is_view and operator not in MEMORY_ONLY:
            self.uncounted[str(operator)] += 1
        return out


def _list_parents(name: str) -> list[str]:
    """Lists a module and all above it: a list of modules is never called, but its members are."""
    parts = name.split(".") if name else []
    return [".".join(parts[:i]) for i in range(len(parts) + 1)]


def _count_batch_norm(args: Any, _: Any) -> int:
    return args[0].numel() * (1 if args[1] is None else 2)  # as in eval: scale and shift


# operator -> fvcore's cost of (its arguments, its output)
FVCORE_RULES: dict[Any, Callable[[Any, Any], int]] = {
    aten.native_batch_norm: _count_batch_norm,
    aten._native_batch_norm_legit_no_training: _count_batch_norm,
    aten._batch_norm_no_update: _count_batch_norm,
    aten.cudnn_batch_norm: _count_batch_norm,
    aten.native_layer_norm: lambda args, _: args[0].numel() * (4 if args[2] is None else 5),
    aten.native_group_norm: lambda args, _: args[0].numel() * (4 if args[1] is None else 5),
    aten._adaptive_avg_pool2d: lambda args, _: args[0].numel(),
    aten.adaptive_avg_pool2d: lambda args, _: args[0].numel(),
    aten.upsample_bilinear2d: lambda _, out: out.numel() * 4,
    aten.grid_sampler_2d: lambda _, out: out.numel() * 4,
    aten.upsample_nearest2d: lambda _, out: out.numel(),
}
