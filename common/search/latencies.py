"""How long networks take, by tables: measured ones of architectures, or of the blocks that chains are made of."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common.benchmarks import load_benchmark
from common.errors import InputError
from common.inputs import read_yaml, size_of
from common.spaces.base import SearchSpace
from common.spaces.mbconv import Block, Chain, MBConvSpace, halved


@dataclass(frozen=True)
class Latencies:
    """of: codes (N, code_length) to milliseconds (N,), NaN where not known. listed: the codes that are, if few."""

    of: Callable[[np.ndarray], np.ndarray]
    listed: np.ndarray | None = None


def load_latencies(file: str | Path, space: SearchSpace[Any]) -> Latencies:
    """From a CSV with the columns `arch` and `ms`, or a YAML of MBConv blocks as Once-for-All publishes them.

    Raises: InputError for a file that is neither, or of another space.
    """
    path = Path(file).expanduser()
    if path.suffix in (".yaml", ".yml"):
        if not isinstance(space, MBConvSpace):
            raise InputError(f"{path}: latencies of MBConv blocks; those of {space.title} are a CSV arch,ms")
        return _of_blocks(path, space)
    size_of(path)  # a file, not one of the benchmarks that are folders
    table = load_benchmark(path, space=space)
    known = dict(zip(map(table.key, range(len(table))), table.column("ms").values.tolist(), strict=True))

    def of(codes: np.ndarray) -> np.ndarray:
        keys = (space.canonical_key(space.from_code(code)) for code in codes)
        return np.array([known.get(key, math.nan) for key in keys])

    return Latencies(of, table.codes)


def _of_blocks(path: Path, space: MBConvSpace) -> Latencies:
    """Sums over the blocks of a chain, as Once-for-All's estimator adds them up; NaN with a block that is not there.

    Raises: InputError where the file lacks the parts that every network of the space has (it is of another width or
    image size, then).
    """
    read = read_yaml(path)
    try:
        table = {str(name): float(entry["mean"]) for name, entry in read.items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        raise InputError(f"{path}: not a YAML of blocks with their mean latencies") from None
    plan, side = space.plan, halved(space.image_size)
    last = side
    for _, _, stride, _ in plan.layers():
        last = halved(last, stride)
    width = plan.stages[-1].width
    fixed = [
        f"Conv-input:{space.image_size}x{space.image_size}x3-output:{side}x{side}x{plan.stem}",
        _name(plan.first, side),
        f"Conv_1-input:{last}x{last}x{width}-output:{last}x{last}x{plan.expand}",
        f"AvgPool2D-input:{last}x{last}x{plan.expand}-output:1x1x{plan.expand}",
        *([f"Conv_2-input:1x1x{plan.expand}-output:1x1x{plan.mix}"] if plan.mix else []),
        f"Logits-input:1x1x{plan.mix or plan.expand}-output:{space.num_classes}",
    ]
    for name in fixed:
        if name not in table:
            raise InputError(f"{path}: has no {name}: it is of other networks than {space.title}'s")
    base = sum(table[name] for name in fixed)

    def one(arch: Chain) -> float:
        total, at = base, side
        for block in (block for stage in space.blocks(arch) for block in stage):
            total += table.get(_name(block, at), math.nan)
            at = halved(at, block.stride)
        return total

    return Latencies(lambda codes: np.array([one(space.from_code(code)) for code in codes]))


def _name(block: Block, side: int) -> str:
    """What Once-for-All's tables call a block on images of `side` pixels."""
    after = halved(side, block.stride)
    return (
        f"expanded_conv-input:{side}x{side}x{block.width_in}-output:{after}x{after}x{block.width}-expand:{block.hidden}"
        f"-kernel:{block.kernel}-stride:{block.stride}-idskip:{int(block.shortcut)}-se:{int(block.se)}"
        f"-hs:{int(block.act == 'hswish')}"
    )
