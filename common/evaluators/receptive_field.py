"""Receptive field: from how wide a patch of the image learnt filters can gather what a feature says."""

from __future__ import annotations

from typing import Any, TypeVar

from common.evaluators.passes import GRADIENTS, Pass, reads

Number = TypeVar("Number", int, float)

# What autograd calls the layers that change the distance between two neighbouring features.
_CONVOLUTION, _POOLINGS = "ConvolutionBackward", ("AvgPool", "MaxPool")


@reads(GRADIENTS)
def receptive_field(run: Pass) -> float:
    """The side, in pixels, of the patch that convolutions let one last feature see, along the best path to it.

    The usual recursion from the last features to the input (Araujo, Norris & Sim, Distill 2019, equation 2): r becomes
    (r - 1) stride + dilation (kernel - 1) + 1, the maximum over all paths; poolings count by their stride alone, for
    what they gather is not learnt. Of the graph and not of the weights; found for any network in what autograd records.
    Attention, and linear layers over positions, are not seen. 1 for a network without such convolutions, 0 where the
    logits do not depend on the images. As a score of architectures it is ours.
    """
    return _fields(run)[0]


@reads(GRADIENTS)
def mean_field(run: Pass) -> float:
    """The mean over all paths from the last features to the images of the `receptive_field` along each of them.

    Ours. Where one path of many has convolutions that see far, most of what a feature says was gathered from close by,
    which the widest field does not tell. Each path of the graph counts the same. 0 as above.
    """
    return _fields(run)[1]


def _fields(run: Pass) -> tuple[float, float]:
    """The widest receptive field over all paths, and their mean."""
    root = run.logits.grad_fn
    widest: dict[Any, int] = {root: 1}  # node of the graph -> field at what it makes
    # ... and of the paths to it: how many (whole numbers, for they may be beyond what a float holds), and their mean.
    paths, mean = {root: 1}, {root: 1.0}
    for node in reversed(_inputs_first(root)):
        if getattr(node, "variable", None) is run.x:
            return float(widest[node]), mean[node]
        field, average = _behind(node, widest[node]), _behind(node, mean[node])
        for source, _ in node.next_functions:
            widest[source] = max(widest.get(source, 0), field)
            paths[source] = paths.get(source, 0) + paths[node]
            before = mean.get(source, 0.0)
            mean[source] = before + (average - before) * (paths[node] / paths[source])
    return 0.0, 0.0


def _behind(node: Any, field: Number) -> Number:
    """The field at a node's input, from that at its output."""
    name = node.name()
    if name.startswith(_CONVOLUTION):
        kernel = node._saved_weight.shape[2:]
        layers = zip(kernel, node._saved_stride, node._saved_dilation, strict=False)
        return max((field - 1) * stride + dilation * (taps - 1) + 1 for taps, stride, dilation in layers)
    if name.startswith(_POOLINGS):
        return (field - 1) * max(node._saved_stride or node._saved_kernel_size) + 1
    return field


def _inputs_first(root: Any) -> list[Any]:
    """The nodes of an autograd graph, each after those it reads from; without recursion, for networks are deep."""
    order, seen, stack = [], set(), [(root, False)]
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
        elif node is not None and node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack.extend((source, False) for source, _ in node.next_functions)
    return order
