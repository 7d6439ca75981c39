"""Many networks as one: equal operations of different candidates run side by side as one operation on more channels.

Every value of every candidate lives in a block, a tensor (B, k * C, ...) that holds the same kind of value of k
candidates, one candidate's channels after the other's. A convolution of k candidates is then a grouped convolution,
a group norm one with k times as many groups, and batch norm and ReLU are what they always are. The candidates never
meet: the mathematics is that of k separate runs, and the infinities of a candidate that diverges reach no other.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from common.training.tape import Instruction, NotRecordable, Program, Shape

# A candidate's parameter: its value and its momentum (None before the first update), views of what they are stacked in.
State = dict[nn.Parameter, tuple[Tensor, Tensor | None]]


@dataclass(frozen=True, eq=False)
class _Chain:
    """Instructions of one candidate that only feed each other; sums of any number of values stand alone."""

    candidate: int
    instructions: list[Instruction]
    inputs: tuple[int, ...]
    output: int
    signature: tuple[Any, ...]
    depth: int


@dataclass(frozen=True, eq=False)
class _Piece:
    """Slots `source` of a block that go to slots `target` of a gathered one."""

    block: int
    source: Tensor | slice
    target: Tensor | slice


@dataclass(frozen=True, eq=False)
class _Gather:
    """How a block is put together: every piece is added where it goes. `whole`: it just is that block."""

    count: int
    pieces: tuple[_Piece, ...]
    first: int  # the first so many pieces fill every slot once
    slots: dict[int, int]  # candidates in each of the blocks
    whole: int | None


@dataclass(frozen=True, eq=False)
class _Group:
    """Chains with the same signature of `count` candidates, run as one."""

    count: int
    gathers: tuple[_Gather, ...]  # one an operand
    shared_input: bool
    operations: tuple[tuple[Instruction, tuple[int | None, ...]], ...]  # with the leaves of their parameters


@dataclass(eq=False)
class FusedPopulation:
    """K candidates as one network, with stacked parameters (`leaves`) and their momenta.

    Built by `fuse`. `forward` gives logits (K, B, classes) and taps (K, B, features) each; `sgd_step` is one update of
    all; `state` gives a candidate's parameters back.
    """

    groups: list[_Group]
    outputs: list[_Gather]
    leaves: list[Tensor]
    momenta: list[Tensor]
    homes: list[dict[nn.Parameter, tuple[int, int, int]]]  # by candidate: parameter -> leaf, first row, rows
    batch: int
    convolution: Callable[..., Tensor]

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Logits (K, B, classes) and taps (K, B, features) of all candidates on the batch x (B, 3, H, W)."""
        blocks: list[Tensor] = [x]
        for group in self.groups:
            blocks.append(self._run(group, blocks))
        made = [_gathered(gather, blocks) for gather in self.outputs]
        logits, *taps = (
            y.view(self.batch, gather.count, -1).transpose(0, 1) for y, gather in zip(made, self.outputs, strict=True)
        )
        return logits, taps

    def sgd_step(self, lr: float, momentum: float, weight_decay: float) -> None:
        """One update of every candidate from the gradients there are, as torch.optim.SGD does it."""
        parameters, grads = self.leaves, [cast(Tensor, leaf.grad) for leaf in self.leaves]
        with torch.no_grad():
            if weight_decay:
                torch._foreach_add_(grads, parameters, alpha=weight_decay)
            torch._foreach_mul_(self.momenta, momentum)
            torch._foreach_add_(self.momenta, grads)
            torch._foreach_add_(parameters, self.momenta, alpha=-lr)

    def zero_grad(self) -> None:
        for leaf in self.leaves:
            leaf.grad = None

    def state(self, candidate: int) -> State:
        """The parameters of one candidate as they are now."""
        return {
            parameter: (self.leaves[leaf].detach()[start : start + rows], self.momenta[leaf][start : start + rows])
            for parameter, (leaf, start, rows) in self.homes[candidate].items()
        }

    def _run(self, group: _Group, blocks: list[Tensor]) -> Tensor:
        operands = [_gathered(gather, blocks) for gather in group.gathers]
        shared = group.shared_input
        for index, (made, leaves) in enumerate(group.operations):
            weights = [None if leaf is None else self.leaves[leaf] for leaf in leaves]
            if made.kind == "conv2d":
                count = 1 if shared and index == 0 else group.count
                operands = [self.convolution(operands[0], *weights, made.static, count)]
            else:
                operands = [KINDS[made.kind](operands, weights, made.static, group.count)]
        return operands[0]


def fuse(
    programs: Sequence[Program],
    states: Sequence[State],
    shape: Shape,
    convolution: Callable[..., Tensor],
) -> FusedPopulation:
    """One network of K candidates, each given by its program and the parameters it is to go on from.

    Args: shape: of the input, (B, 3, H, W). convolution: how a stacked convolution is run, one of CONVOLUTIONS.
    Raises: NotRecordable when the candidates' outputs differ in shape.
    """
    device = next(iter(states[0].values()))[0].device
    for which in zip(*([p.logits, *p.taps] for p in programs), strict=True):
        shapes = {p.instructions[value].shape for p, value in zip(programs, which, strict=True)}
        if len(shapes) > 1:
            raise NotRecordable(f"candidates whose outputs have several shapes: {sorted(shapes)}")
    place: dict[tuple[int, int], tuple[int, int]] = {(c, 0): (0, 0) for c in range(len(programs))}
    widths = [1]  # candidates in each block; block 0 is the input, which all share
    groups: list[_Group] = []
    leaves: list[Tensor] = []
    momenta: list[Tensor] = []
    homes: list[dict[nn.Parameter, tuple[int, int, int]]] = [{} for _ in programs]
    for chains in _schedule(programs):
        count = len(chains)
        operands = range(len(chains[0].inputs))
        slots = [[place[chain.candidate, chain.inputs[i]] for chain in chains] for i in operands]
        first = chains[0].instructions[0]
        shared = first.kind == "conv2d" and first.static[-1] == 1 and all(slot == (0, 0) for slot in slots[0])
        gathers: tuple[_Gather, ...]
        if first.kind == "add":
            gathers = (_gather(slots, widths, device),)
        elif shared:
            gathers = (_Gather(1, (), 0, {}, 0),)
        else:
            gathers = tuple(_gather([each], widths, device) for each in slots)
        operations = []
        for index, made in enumerate(chains[0].instructions):
            indices: list[int | None] = []
            for slot, parameter in enumerate(made.parameters):
                if parameter is None:
                    indices.append(None)
                    continue
                indices.append(len(leaves))
                own = [cast(nn.Parameter, chain.instructions[index].parameters[slot]) for chain in chains]
                held = [states[chain.candidate][p] for chain, p in zip(chains, own, strict=True)]
                leaves.append(torch.cat([value for value, _ in held]).requires_grad_(True))
                momenta.append(torch.cat([torch.zeros_like(v) if m is None else m for v, m in held]))
                rows = len(own[0])
                for member, (chain, p) in enumerate(zip(chains, own, strict=True)):
                    homes[chain.candidate][p] = (len(leaves) - 1, member * rows, rows)
            operations.append((made, tuple(indices)))
        if first.kind == "add":
            operations = operations[1:]  # the gathering has summed
        groups.append(_Group(count, gathers, shared, tuple(operations)))
        widths.append(count)
        for member, chain in enumerate(chains):
            place[chain.candidate, chain.output] = (len(groups), member)
    wanted = zip(*([p.logits, *p.taps] for p in programs), strict=True)
    outputs = [_gather([[place[c, v] for c, v in enumerate(values)]], widths, device) for values in wanted]
    return FusedPopulation(groups, outputs, leaves, momenta, homes, shape[0], convolution)


# what to run together ------------------------------------------------------------------------------------------------


def _schedule(programs: Sequence[Program]) -> list[list[_Chain]]:
    """Chains in an order in which they can be run, those that run as one together.

    Greedy, as in on-the-fly batching (Neubig et al. 2017): of the signatures with chains that are ready, the one whose
    ready chains lie least deep on average goes next, so that more chains of the others become ready meanwhile.
    """
    waiting: dict[tuple[int, int], list[_Chain]] = defaultdict(list)  # by candidate and missing value
    missing: dict[int, int] = {}
    ready: dict[tuple[Any, ...], list[_Chain]] = defaultdict(list)
    for candidate, program in enumerate(programs):
        for chain in _chains(candidate, program):
            needs = {value for value in chain.inputs if value}
            missing[id(chain)] = len(needs)
            for value in needs:
                waiting[candidate, value].append(chain)
            if not needs:
                ready[chain.signature].append(chain)
    order: list[list[_Chain]] = []
    while ready:
        signature = min(ready, key=lambda s: sum(chain.depth for chain in ready[s]) / len(ready[s]))
        chains = sorted(ready.pop(signature), key=lambda chain: (chain.candidate, chain.output))
        order.append(chains)
        for chain in chains:
            for user in waiting.pop((chain.candidate, chain.output), ()):
                missing[id(user)] -= 1
                if not missing[id(user)]:
                    ready[user.signature].append(user)
    return order


def _chains(candidate: int, program: Program) -> list[_Chain]:
    kept = {program.logits, *program.taps}
    instructions = _with_sums(program.instructions, kept)
    users = _users(instructions)
    chains: list[_Chain] = []
    depth = {0: 0}
    shapes: dict[int, Shape] = {0: ()}
    inside: set[int] = set()
    for value, made in instructions.items():
        depth[value] = 1 + max(depth[source] for source in made.inputs)
        shapes[value] = made.shape
        if value in inside:
            continue
        run, last = [made], value
        while last not in kept and len(users[last]) == 1:
            follower = instructions[users[last][0]]
            if len(follower.inputs) != 1:
                break
            run.append(follower)
            last = users[last][0]
            inside.add(last)
        signature = (
            tuple((i.kind, i.static, tuple(p is None for p in i.parameters)) for i in run),
            tuple(shapes[source] for source in made.inputs),
        )
        chains.append(_Chain(candidate, run, made.inputs, last, signature, depth[value]))
    return chains


def _users(instructions: dict[int, Instruction]) -> dict[int, list[int]]:
    """By value, the values that are made from it."""
    users: dict[int, list[int]] = defaultdict(list)
    for value, made in instructions.items():
        for source in made.inputs:
            users[source].append(value)
    return users


def _with_sums(instructions: dict[int, Instruction], kept: set[int]) -> dict[int, Instruction]:
    """The instructions with additions of additions made one addition of all (where no broadcasting is involved)."""
    merged, users = dict(instructions), _users(instructions)
    for value, made in instructions.items():
        if made.kind != "add":
            continue
        if any(source and merged[source].shape != made.shape for source in made.inputs):
            raise NotRecordable("a sum of features of different shapes")
        terms: list[int] = []
        for source in made.inputs:
            inner = merged.get(source)
            if inner is not None and inner.kind == "add" and users[source] == [value] and source not in kept:
                terms += merged.pop(source).inputs
            else:
                terms.append(source)
        merged[value] = Instruction("add", (), tuple(terms), (), made.shape)
    return merged


# putting blocks together ---------------------------------------------------------------------------------------------


def _gather(operands: Sequence[Sequence[tuple[int, int]]], widths: Sequence[int], device: torch.device) -> _Gather:
    """The plan of the sum over operands; operands[i][slot] is the (block, slot) that goes to `slot`."""
    count = len(operands[0])
    only = operands[0][0][0]
    if len(operands) == 1 and widths[only] == count and all(p == (only, s) for s, p in enumerate(operands[0])):
        return _Gather(count, (), 0, {}, only)
    pieces: list[_Piece] = []
    first = 0
    for operand in operands:
        parts: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
        repeats: dict[tuple[int, int], int] = defaultdict(int)
        for target, (block, source) in enumerate(operand):
            turn = repeats[block, source]  # a piece takes every slot at most once: its gradient is then a plain copy
            repeats[block, source] += 1
            parts[block, turn].append((source, target))
        for (block, _), pairs in parts.items():
            sources, targets = zip(*pairs, strict=True)
            pieces.append(_Piece(block, _index(sources, device), _index(targets, device)))
        first = first or len(pieces)
    return _Gather(count, tuple(pieces), first, {piece.block: widths[piece.block] for piece in pieces}, None)


def _index(slots: Sequence[int], device: torch.device) -> Tensor | slice:
    start = slots[0]
    if list(slots) == list(range(start, start + len(slots))):
        return slice(start, start + len(slots))
    return torch.tensor(slots, device=device)


def _gathered(gather: _Gather, blocks: Sequence[Tensor]) -> Tensor:
    if gather.whole is not None:
        return blocks[gather.whole]
    return cast(Tensor, _GatherSum.apply(gather, *(blocks[number] for number in gather.slots)))


class _GatherSum(torch.autograd.Function):
    """Sums of slots of blocks; written by hand because autograd's own way fills a whole block for every slice."""

    @staticmethod
    def forward(ctx: Any, gather: _Gather, *blocks: Tensor) -> Tensor:
        ctx.gather, ctx.shapes = gather, [block.shape for block in blocks]
        by_slot = {n: _by_slot(b, count) for b, (n, count) in zip(blocks, gather.slots.items(), strict=True)}
        sample = next(iter(by_slot.values()))
        out = sample.new_empty((sample.shape[0], gather.count, *sample.shape[2:]))
        for index, piece in enumerate(gather.pieces):
            part = by_slot[piece.block][:, piece.source].to(out.dtype)
            if index < gather.first:
                out[:, piece.target] = part
            elif isinstance(piece.target, slice):
                out[:, piece.target] += part
            else:
                out.index_add_(1, piece.target, part)
        return out.flatten(1, 2)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        gather: _Gather = ctx.gather
        grad = _by_slot(grads[0], gather.count)
        found: list[Tensor | None] = [None]
        for needed, shape, (number, count) in zip(
            ctx.needs_input_grad[1:], ctx.shapes, gather.slots.items(), strict=True
        ):
            if not needed:
                found.append(None)
                continue
            own = _by_slot(grads[0].new_zeros(shape), count)
            for piece in gather.pieces:
                if piece.block == number:
                    part = grad[:, piece.target]
                    if isinstance(piece.source, slice):
                        own[:, piece.source] += part
                    else:
                        own.index_add_(1, piece.source, part)
            found.append(own.flatten(1, 2))
        return tuple(found)


def _by_slot(block: Tensor, count: int) -> Tensor:
    """(B, k * C, ...) as (B, k, C, ...)."""
    return block.unflatten(1, (count, -1))


# operations on blocks ------------------------------------------------------------------------------------------------

Operands = list[Tensor]
Weights = list["Tensor | None"]


def grouped_convolution(x: Tensor, weight: Tensor, bias: Tensor | None, static: tuple[Any, ...], count: int) -> Tensor:
    """`count` convolutions as the groups of one."""
    _, stride, padding, dilation, groups = static
    return F.conv2d(x, weight, bias, stride, padding, dilation, groups * count)


def matmul_convolution(x: Tensor, weight: Tensor, bias: Tensor | None, static: tuple[Any, ...], count: int) -> Tensor:
    """`count` convolutions as batched matrix products over the unfolded image; depthwise ones as they are."""
    (out, into, *kernel), stride, padding, dilation, groups = static
    if groups > 1 or count == 1:
        return grouped_convolution(x, weight, bias, static, count)
    batch, _, *sides = x.shape
    shapes = zip(sides, padding, dilation, kernel, stride, strict=True)
    size = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, p, d, k, s in shapes]
    padded = F.pad(x, (padding[1], padding[1], padding[0], padding[0])) if any(padding) else x
    taps = [
        padded[
            :,
            :,
            i * dilation[0] : i * dilation[0] + stride[0] * (size[0] - 1) + 1 : stride[0],
            j * dilation[1] : j * dilation[1] + stride[1] * (size[1] - 1) + 1 : stride[1],
        ].reshape(batch, count, into, -1)
        for i in range(kernel[0])
        for j in range(kernel[1])
    ]
    columns = taps[0] if len(taps) == 1 else torch.stack(taps, 3).flatten(2, 3)  # (B, k, C * taps, pixels)
    y = torch.matmul(weight.view(1, count, out, -1), columns)
    y = y.reshape(batch, count * out, *size)
    return y if bias is None else y + bias.view(1, -1, 1, 1)


def _linear(operands: Operands, weights: Weights, static: tuple[Any, ...], count: int) -> Tensor:
    (weight, bias), (out, into) = weights, static[0]
    assert weight is not None
    x = operands[0].view(-1, count, into).transpose(0, 1)
    y = torch.bmm(x, weight.view(count, out, into).mT)
    if bias is not None:
        y = y + bias.view(count, 1, out)
    return y.transpose(0, 1).flatten(1)


def _crop(operands: Operands, weights: Weights, static: tuple[Any, ...], count: int) -> Tensor:
    channels, rows, columns = (slice(*span) for span in static)
    return _by_slot(operands[0], count)[:, :, channels, rows, columns].flatten(1, 2)


def _pad(operands: Operands, weights: Weights, static: tuple[Any, ...], count: int) -> Tensor:
    pad, mode, value = static
    if len(pad) <= 4:
        return F.pad(operands[0], pad, mode, value)
    return F.pad(_by_slot(operands[0], count), pad, mode, value).flatten(1, 2)


def _layer_norm(operands: Operands, weights: Weights, static: tuple[Any, ...], count: int) -> Tensor:
    """All values of a candidate are one group of a group norm; its weights have a number for each of them."""
    y = F.group_norm(operands[0], count, eps=static[0])
    weight, bias = weights
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


KINDS: dict[str, Callable[[Operands, Weights, tuple[Any, ...], int], Tensor]] = {
    "pointwise": lambda x, w, static, count: static[0](x[0], *static[1], **dict(static[2])),
    "batch_norm": lambda x, w, static, count: F.batch_norm(x[0], None, None, w[0], w[1], True, 0.0, static[0]),
    "group_norm": lambda x, w, static, count: F.group_norm(x[0], count * static[0], w[0], w[1], static[1]),
    "layer_norm": _layer_norm,
    "linear": _linear,
    "zeros": lambda x, w, static, count: x[0].new_zeros(x[0].shape[0], count * static[0], *static[1:]),
    "avg_pool2d": lambda x, w, static, count: F.avg_pool2d(x[0], *static),
    "max_pool2d": lambda x, w, static, count: F.max_pool2d(x[0], *static),
    "adaptive_avg_pool2d": lambda x, w, static, count: F.adaptive_avg_pool2d(x[0], static),
    "mean": lambda x, w, static, count: x[0].mean((2, 3), keepdim=static[0]),
    "flatten": lambda x, w, static, count: x[0].flatten(1),
    "mul": lambda x, w, static, count: x[0] * x[1],
    "div": lambda x, w, static, count: x[0] / x[1],
    "cat": lambda x, w, static, count: torch.cat([_by_slot(part, count) for part in x], 2).flatten(1, 2),
    "crop": _crop,
    "pad": _pad,
}
CONVOLUTIONS: dict[str, Callable[..., Tensor]] = {"grouped": grouped_convolution, "matmul": matmul_convolution}


def best_convolution(device: torch.device) -> Callable[..., Tensor]:
    """How stacked convolutions are run on a device."""
    return CONVOLUTIONS["grouped"] if device.type == "cpu" else _Measured()


class _Measured:
    """Runs every shape of convolution the way that was faster, forward and backward, when the shape first came up."""

    def __init__(self) -> None:
        self.chosen: dict[tuple[Any, ...], Callable[..., Tensor]] = {}

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None, static: tuple[Any, ...], count: int) -> Tensor:
        # Populations shrink and grow: what is faster for 100 candidates is so for 90.
        key = (static, x.shape[2:], x.dtype, count.bit_length())
        if key not in self.chosen:
            self.chosen[key] = min(CONVOLUTIONS.values(), key=lambda run: _seconds(run, x, weight, static, count))
        return self.chosen[key](x, weight, bias, static, count)


def _seconds(run: Callable[..., Tensor], x: Tensor, weight: Tensor, static: tuple[Any, ...], count: int) -> float:
    """Of forward and backward pass on a GPU, the best of three after one to warm up; infinite if memory runs out."""
    best = float("inf")
    x, weight = x.detach().requires_grad_(True), weight.detach().requires_grad_(True)
    with torch.enable_grad():
        for _ in range(4):
            start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            try:
                start.record()
                y = run(x, weight, None, static, count)
                y.backward(y.detach())
                stop.record()
            except torch.cuda.OutOfMemoryError:
                return float("inf")
            stop.synchronize()
            best = min(best, start.elapsed_time(stop) / 1000)
    return best
