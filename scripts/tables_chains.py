"""Searches of the spaces of chains that RMI-NAS was tried on besides: MobileNet networks and NAS-Bench-Macro."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from records import ROOT, Kept, head, read, row, spread, values
from tables_rminas import STAND_IN, Lines, RmiRun, found_by, read_summary

OFA = "ofa/acc_predictor.pth"
sys.path.append(str(ROOT / "examples"))
SPACE = "ofa_space:OfaPart"
MOST_FLOPS = "13M"  # of a network for the stand-in's 32 pixels; at 224, the same networks have some 35 times as many
IMAGES = {"num_classes": 120, "image_size": 32}
DRAWN = 10_000

SCREENING = RmiRun(
    "rminas/mobilenet_screening",
    "mb_imagenet",
    {"DATA__PATH": STAND_IN, "BENCHMARK__PATH": OFA},
    {
        "SPACE__NAME": SPACE,
        "DATA__NAME": "tinyimagenet120",
        "TRAIN__BATCH_SIZE": 16,
        "RMINAS__STRATEGY": "screening",
        "BUDGET__MAX_FLOPS": MOST_FLOPS,
        "EXECUTOR": "serial",
    },
)


@dataclass(frozen=True)
class KnownRun:
    """What the predictor itself says of random networks within the budget, and where it leads uphill from the best."""

    name: str = "rminas/mobilenet_known"
    seeds: int = 3
    first: int = 7

    @property
    def files(self) -> tuple[str, ...]:
        return (OFA,)

    def make(self, seeds: Sequence[int], data: Path, runs: Path) -> Iterator[tuple[dict[str, Any], Lines]]:
        from common.benchmarks.ofa import AccuracyPredictor
        from common.budget import Budget
        from common.runs import environment
        from common.search.candidates import WholeSpace
        from common.seeds import rng_for
        from common.spaces import make_space

        predictor = AccuracyPredictor.load(data / OFA)
        space = make_space(SPACE, **IMAGES)
        within = WholeSpace(space, Budget.of(max_flops=MOST_FLOPS).limits(space))
        config = {"sha256": predictor.sha256, "max_flops": MOST_FLOPS, "drawn": DRAWN, **IMAGES}
        for seed in seeds:
            started = time.perf_counter()
            archs = within.random(DRAWN, rng_for(seed, "known"))
            accuracies = predictor.accuracies(archs)
            best, top = archs[int(accuracies.argmax())], float(accuracies.max())
            while True:
                near = within.neighbours(best)
                told = predictor.accuracies(near)
                if not len(near) or told.max() <= top:
                    break
                best, top = near[int(told.argmax())], float(told.max())
            flops, _ = space.total_costs(space.to_codes(archs))
            record = {
                "random": float(accuracies.mean()),
                "deviation": float(accuracies.std(ddof=1)),
                "best_random": float(accuracies.max()),
                "largest": float(accuracies[np.argmax(flops)]),
                "uphill": top,
                "uphill_arch": space.format(best),
                "seconds": round(time.perf_counter() - started, 2),
                "environment": environment("cpu"),
            }
            yield config, [{"seed": seed, **record}]


KNOWN = KnownRun()


def mobilenet_page() -> str:
    screened, known = read(SCREENING.name), read(KNOWN.name)
    lines = head("what chooses", "n", "predicted ImageNet accuracy, %", "it has seen")
    found = spread(found_by(screened), 2)
    score = screened.config.get("RMINAS", {}).get("EVALUATOR", "")
    seen = f"{spread(values(screened, lambda run: run['evaluations']), 0)} networks, untrained"
    lines.append(row(f"screening by `{score}`", len(screened.records), f"**{found}**", seen))
    for title, key, seen in (
        ("one network at random", "random", "nothing"),
        ("the one with most FLOPs", "largest", f"{DRAWN:,} networks' FLOPs"),
        ("the best of random ones", "best_random", f"{DRAWN:,} predictions"),
        ("uphill from there", "uphill", "predictions of all neighbours, to the end"),
    ):
        lines.append(row(title, len(known.records), spread(_known(known, key), 2), seen))
    deviation = spread(_known(known, "deviation"), 2)
    return "\n".join(
        [
            *lines,
            "",
            f"Networks of at most {MOST_FLOPS} FLOPs at 32 pixels, of the part of the space that Once-for-All's "
            "predictor knows (`examples/ofa_space.py`); scores see images of a stand-in, 120 classes of Tiny-ImageNet. "
            "Accuracies are *predicted*, for 224 pixels; nobody trained these networks. Random ones within the budget "
            f"deviate by {deviation}. Of ProxylessNAS's space nothing is known to score a search by: OFA's predictor "
            "has not its expansions of 1.",
        ]
    )


def _known(kept: Kept, key: str) -> list[float]:
    return values(kept, lambda record: record[key])


def macro_page() -> str:
    lines = head("what chooses", "n", "found, test %", "rank of 6,561", "it has seen", "seconds here")
    for title, file in (
        ("screening", "screening/macro_cifar10_screening"),
        ("RMI-NAS, 10 of 30 updates, half the channels", "rminas/search_macro_cut"),
    ):
        if summary := read_summary(file):
            runs = summary["runs"]
            found = spread([run["found"]["test_acc"] for run in runs], 2)
            ranks = spread([run["found"]["rank"] for run in runs], 0)
            seconds = spread([run["search_s"] for run in runs], 0)
            seen = f"{spread([run['evaluations'] for run in runs], 0)} networks"
            score = summary["settings"]["RMINAS"].get("EVALUATOR", "rmi")  # older summaries know no other
            lines.append(row(f"{title} (`{score}`)", len(runs), f"**{found}**", ranks, seen, seconds))
    if table := read_summary("screening/macro_cifar10_table"):
        mean = f"{table['mean']:.2f} ± {table['std']:.2f}"
        lines.append(row("one network at random", table["networks"], mean, "", "nothing", ""))
        lines.append(row("the one with most parameters", "", f"{table['most_parameters']:.2f}", "", "parameters", ""))
        lines.append(row("the best of the table", "", f"{table['best']:.2f}", 1, "all accuracies", ""))
    return "\n".join([*lines, "", "CIFAR-10 test accuracy after 50 epochs. Neither paper has such a table."])
