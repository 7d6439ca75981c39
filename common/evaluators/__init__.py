"""Evaluators by name: what says how good an architecture is. A new one is one module and one line here.

What a name stands for makes an evaluator from a `Context`. A user's own is named by import path and may be

- a function `score(network, x, y) -> float` of an untrained network and a batch, higher being better,
- a function `score(arch) -> float` of the architecture alone,
- a function `make(context) -> Evaluator`, for whatever needs more than that, or
- an Evaluator.

Names joined by + make a combination: the sum of the logarithms of their ranks (`common.evaluators.combination`).
"""

from __future__ import annotations

import inspect
from typing import Any

from common.errors import InputError
from common.evaluators.base import NO_BOUNDS, Bounds, Evaluator, Outcome, Request
from common.evaluators.context import Context
from common.registry import Registry

MOST_JOINED = 32
OF_NETWORK, OF_ARCH, OF_CONTEXT = ["network", "x", "y"], ["arch"], ["context"]  # arguments of what a name stands for
EVALUATORS = Registry(
    "evaluator",
    {
        "params": "common.evaluators.costs:make_params",
        "flops": "common.evaluators.costs:make_flops",
        "table": "common.evaluators.table:make_table_look_up",
        "rmi": "rminas.rmi:make_rmi",
        "combined_rmi": "rminas.combined_rmi:make_combined_rmi",
        "counted_params": "common.evaluators.costs:counted_params",
        "counted_flops": "common.evaluators.costs:counted_flops",
        "combined": "common.evaluators.combined:combined",
        "fisher": "common.evaluators.fisher:fisher",
        "grad_norm": "common.evaluators.grad_norm:grad_norm",
        "grasp": "common.evaluators.grasp:grasp",
        "jacov": "common.evaluators.jacov:jacov",
        "l2_norm": "common.evaluators.l2_norm:l2_norm",
        "mean_field": "common.evaluators.receptive_field:mean_field",
        "naswot": "common.evaluators.naswot:naswot",
        "plain": "common.evaluators.plain:plain",
        "receptive_field": "common.evaluators.receptive_field:receptive_field",
        "snip": "common.evaluators.snip:snip",
        "steady": "common.evaluators.steady:steady",
        "swap": "common.evaluators.swap:swap",
        "synflow": "common.evaluators.synflow:synflow",
        "zen": "common.evaluators.zen:zen",
        "zico": "common.evaluators.zico:zico",
    },
)


def make_evaluator(name: str, context: Context) -> Evaluator:
    """The evaluator called `name`, the user's own that an import path names, or several of them joined by +.

    Raises: InputError for an unknown name, for what is none of the forms above, or when the context lacks what the
    evaluator needs.
    """
    members = load_members(name)
    if "+" in name:
        from common.evaluators.combination import Combination

        return Combination.make(context, name, [make_evaluator(part.strip(), context) for part in name.split("+")])
    member = members[name.strip()]
    if isinstance(member, Evaluator):
        return member
    words = words_of(member)
    if words == OF_NETWORK:
        from common.evaluators.training_free import TrainingFree

        return TrainingFree.make(context, name, member)
    from common.evaluators.own import ArchScore, call

    if words == OF_ARCH:
        return ArchScore(name, member, context.space)
    made = call(member, context) if ":" in name else member(context)
    if isinstance(made, Evaluator):
        return made
    raise InputError(f"evaluator {name!r}: made a {type(made).__name__}, expected an Evaluator")


def load_members(name: str) -> dict[str, Any]:
    """What the name of an evaluator, or those joined by + in it, stand for; nothing is made of it yet.

    Raises: InputError for an unknown name, too many of them, and for what is none of the forms above.
    """
    parts = [part.strip() for part in name.split("+")]
    if len(parts) > MOST_JOINED:
        raise InputError(f"a combination of {len(parts)} evaluators, expected at most {MOST_JOINED}")
    members = {part: EVALUATORS.load(part) for part in parts}
    for part, member in members.items():
        if not isinstance(member, Evaluator) and words_of(member) not in (OF_NETWORK, OF_ARCH, OF_CONTEXT):
            raise InputError(
                f"evaluator {part!r}: expected a function of (network, x, y), of (arch) or of (context), or an "
                "Evaluator"
            )
    return members


def words_of(member: Any) -> list[str]:
    """The names of a function's arguments; empty for what is none."""
    try:
        return [*inspect.signature(member).parameters]
    except (TypeError, ValueError):
        return []


__all__ = [
    "EVALUATORS",
    "NO_BOUNDS",
    "Bounds",
    "Context",
    "Evaluator",
    "Outcome",
    "Request",
    "make_evaluator",
]
