"""The drawing of a backbone's feed-forward network, traced from the network itself."""

import logging
import operator
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp

from lemore.config.jobs import DiagramJob, read_job
from lemore.config.model import BackboneConfig
from lemore.models import build_backbone
from lemore.models.layers import DropPath
from lemore.reporting.figures import diagram
from lemore.reporting.figures.diagram import Node
from lemore.reporting.figures.style import save_figure

log = logging.getLogger(__name__)
PART = "feed_forward"
NOTHING = (nn.Identity, nn.Dropout, DropPath)  # modules that compute nothing at inference


def draw_diagram(path: Path, prefix: str) -> None:
    """Draws the backbone that the YAML file `path` describes; writes <prefix>.png and .pdf."""
    job = read_job(DiagramJob, path)
    height, width = job.size
    nodes, params = trace_feed_forward(job.backbone, job.size)
    caption = f"{job.label} at {height}x{width}: channels x height x width, {params} parameters"
    title = f"Feed-forward network: {job.label}"
    save_figure(diagram.draw(nodes, caption), prefix, title, diagram.describe(nodes, caption))
    log.info("diagram in %s.{png,pdf}", prefix)


def trace_feed_forward(config: BackboneConfig, size: tuple[int, int]) -> tuple[list[Node], int]:
    """Traces a backbone's first feed-forward sub-layer, shortcut included; counts parameters.

    ValueError if the backbone has none.
    """
    with torch.device("meta"):
        backbone = build_backbone(config.module, config.arguments, input_size=size, drop_path=0.0)
        image = torch.zeros(1, 3, *size)
    names = [name for name, _ in backbone.named_modules() if name.split(".")[-1] == PART]
    if not names:
        raise ValueError(f"backbone {config.module} has no module called {PART}: nothing to draw")
    block = backbone.eval().get_submodule(names[0].rpartition(".")[0])
    nodes = trace_block(block, _capture_input(backbone, block, image))
    params = sum(p.numel() for p in block.get_submodule(PART).parameters())
    return nodes, params


def _capture_input(model: nn.Module, module: nn.Module, image: torch.Tensor) -> torch.Tensor:
    """Returns the input of a module when the model is given an image."""
    seen: list[torch.Tensor] = []
    hook = module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        model(image)
    hook.remove()
    return seen[0]


class _Tracer(fx.Tracer):
    """Traces into everything but torch's own layers and parts beside the feed-forward network."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        inside = module_qualified_name.split(".")[0] == PART
        return not inside or super().is_leaf_module(m, module_qualified_name)


def trace_block(block: nn.Module, x: torch.Tensor) -> list[Node]:
    """Lists the operations of `block` from its feed-forward part's input to its end, in order."""
    module = fx.GraphModule(block, _Tracer().trace(block))
    ShapeProp(module).propagate(x)
    operations = list(module.graph.nodes)
    first = next(n for n in operations if str(n.target).split(".")[0] == PART)
    start = first.all_input_nodes[0]
    place, nodes = {start: 0}, [Node("input", "$X'_f$", (), _read_shape(start))]
    for operation in operations[operations.index(start) + 1 :]:
        sources = tuple(place[n] for n in operation.all_input_nodes if n in place)
        if isinstance(_find_layer(module, operation), NOTHING):
            place[operation] = sources[0]
        elif sources:
            place[operation] = len(nodes)
            kind, text = _describe(module, operation)
            nodes.append(Node(kind, text, sources, _read_shape(operation)))
    return nodes


def _find_layer(module: nn.Module, operation: fx.Node) -> nn.Module | None:
    return module.get_submodule(str(operation.target)) if operation.op == "call_module" else None


def _read_shape(operation: fx.Node) -> tuple[int, ...]:
    meta: Any = operation.meta.get("tensor_meta")
    return tuple(meta.shape[1:]) if meta is not None else ()


def _describe(module: nn.Module, operation: fx.Node) -> tuple[str, str]:
    """Returns kind and text of an operation's box."""
    if operation.op == "output":
        return "output", "$X''_f$"
    layer = _find_layer(module, operation)
    if layer is None:
        name = getattr(operation.target, "__name__", str(operation.target))
        is_sum = operation.target in (operator.add, operator.iadd, torch.add)
        return ("add", "+") if is_sum else ("other", name)
    if isinstance(layer, nn.Conv2d):
        return "convolution", _describe_convolution(layer)
    if isinstance(layer, nn.BatchNorm2d):
        return "norm", "BN"
    activation = type(layer).__module__ == "torch.nn.modules.activation"
    return "activation" if activation else "other", type(layer).__name__


def _describe_convolution(layer: nn.Conv2d) -> str:
    height, width = layer.kernel_size
    depthwise = layer.groups == layer.in_channels > 1
    groups = "" if layer.groups == 1 else f", {layer.groups} groups"
    kind = "DW conv" if depthwise else f"conv{groups}"
    dilated = f", dilation {layer.dilation[0]}" if max(layer.dilation) > 1 else ""
    stride = f", stride {layer.stride[0]}" if max(layer.stride) > 1 else ""
    bias = ", bias" if layer.bias is not None else ""
    channels = f"{layer.in_channels} → {layer.out_channels}"
    return f"{height}x{width} {kind}{stride}{dilated}{bias}\n{channels}"
