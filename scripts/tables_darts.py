"""RMI-NAS's table of the DARTS space, and what predictors say of its genotypes, which nobody can retrain here.

Genotypes are facts: each as its own authors published it. Those of NASNet-A and AmoebaNet-B have operations and cells
that the space has not; RMI-NAS's own was never published.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from records import head, read, row
from tables_renas import Lines
from tables_rminas import PUBLISHED_SEARCH, RmiRun, read_summary

from common.errors import InputError

# GPU days of the search, test error (%) as its own paper has it, and retrained by one recipe in RMI-NAS's paper.
PUBLISHED = {
    "AmoebaNet-B": ("3150", "2.55 ± 0.05", ""),
    "NASNet-A": ("1800", "2.65", ""),
    "DARTS (1st)": ("0.4", "3.00 ± 0.14", "2.75"),
    "DARTS (2nd)": ("1", "2.76 ± 0.09", "2.60"),
    "SNAS": ("1.5", "2.85 ± 0.02", "2.68"),
    "PC-DARTS": ("1", "2.57 ± 0.07", "2.71 ± 0.11"),
    "FairDARTS-D": ("0.4", "2.54 ± 0.05", "2.71"),
    "RMI-NAS": ("0.08", "", "2.64 ± 0.04"),
}

# The two cells, a pair of edges a node: operation and source. m, a: pooling; i: the identity; s, d: separable and
# dilated convolutions of 3 or 5 pixels.
GENOTYPES = {
    "DARTS (1st)": ("s3 1 s3 0  i 0 s3 1  i 0 s3 1  s3 0 i 2", "m 0 m 1  i 2 m 0  m 0 i 2  i 2 a 0"),
    "DARTS (2nd)": ("s3 0 s3 1  s3 0 s3 1  s3 1 i 0  i 0 d3 2", "m 0 m 1  i 2 m 1  m 0 i 2  i 2 m 1"),
    "SNAS": ("s3 0 s3 1  i 0 d3 1  i 1 i 0  i 0 s3 1", "m 0 m 1  m 1 i 2  i 2 m 1  m 0 d5 2"),
    "PC-DARTS": ("s3 1 i 0  s3 0 d3 1  s5 0 s3 1  a 0 d3 1", "s5 1 m 0  s5 1 s5 2  s3 0 s3 3  s3 1 s3 2"),
    "FairDARTS-D": ("s3 0 s5 1  d3 1 m 0  d3 0 d3 1  s3 0 d5 1", "m 0 s5 1  a 0 d5 2  d3 3 a 0  a 0 i 3"),
}
OPERATIONS = {
    "m": "max_pool_3x3",
    "a": "avg_pool_3x3",
    "i": "skip_connect",
    "s3": "sep_conv_3x3",
    "s5": "sep_conv_5x5",
    "d3": "dil_conv_3x3",
    "d5": "dil_conv_5x5",
}

TABLES = {  # what predictors learn: (file, column) by title
    "500 trained for 200 epochs": ("darts/darts_cifar10_500.csv", "cifar10_valid_200"),
    "107 trained for 600 epochs": ("darts/darts_cifar10_600epochs_107.csv", "cifar10_test_600"),
    "1,218 of a surrogate": ("darts/nb301_surrogate_zero_cost.csv", "surrogate_valid"),
}
SCREENED, SEARCHED = "screening, here", "RMI-NAS, updates cut, here"
SCREENING = "screening/darts_cifar10_screening"  # a committed summary


def genotype(name: str) -> str:
    """As text that `common.spaces.darts` reads."""
    cells = []
    for cell in GENOTYPES[name]:
        words = cell.split()
        cells.append([(OPERATIONS[op], int(source)) for op, source in zip(words[::2], words[1::2], strict=True)])
    nodes = [2, 3, 4, 5]
    return f"Genotype(normal={cells[0]}, normal_concat={nodes}, reduce={cells[1]}, reduce_concat={nodes})"


def genotypes() -> dict[str, str]:
    """All that can be placed: the published ones, and what the first seeds of our own searches found."""
    found = {name: genotype(name) for name in GENOTYPES}
    screened = read_summary(SCREENING)
    for title, runs in ((SCREENED, screened["runs"] if screened else []), (SEARCHED, read(SEARCH.name).records)):
        if not runs:
            raise InputError(f"no genotype of {title!r} to place: run that search first")
        found[title] = runs[0]["found"]["arch"]
    return found


@dataclass(frozen=True)
class PlaceRun:
    """Where predictors that learnt a table each place the genotypes. Nothing in it is drawn, so one seed says all."""

    name: str = "rminas/darts_predicted"
    seeds: int = 1
    first: int = 0

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(file for file, _ in TABLES.values())

    def make(self, seeds: Sequence[int], data: Path, runs: Path) -> Iterator[tuple[dict[str, Any], Lines]]:
        from folds import place

        from common.benchmarks import load_benchmark
        from common.runs import environment

        started, texts = time.perf_counter(), genotypes()
        tables = {title: load_benchmark(data / file) for title, (file, _) in TABLES.items()}
        places = {
            title: place([*texts.values()], table, column=TABLES[title][1]) | {"names": [*texts]}
            for title, table in tables.items()
        }
        config = {"genotypes": texts, "sha256": {title: table.source.sha256 for title, table in tables.items()}}
        for seed in seeds:
            seconds = round(time.perf_counter() - started, 2)
            yield config, [{"seed": seed, "places": places, "seconds": seconds, "environment": environment("cpu")}]


PLACES = PlaceRun()
BATCH = 32  # published: 128, four times the price

# A search over networks of the published size; published: 250 updates, 100 random genotypes, 100 positives, no racing.
SEARCH = RmiRun(
    "rminas/darts_search",
    "darts_cifar10",
    {**PUBLISHED_SEARCH.paths, "BENCHMARK__PATH": TABLES["500 trained for 200 epochs"][0]},
    {
        "TRAIN__BATCH_SIZE": BATCH,
        "RMINAS__OBSERVE": 60,
        "RMINAS__RF_WARMUP": 40,
        "RMINAS__RF_THRESRATE": 0.1,
        "RMINAS__RF_SUCC": 10,
        "RMINAS__MAX_EVALUATIONS": 80,
        "RMINAS__TOP": 10,
        "RMINAS__ROUND": 4,
        "RMINAS__RACE": 2.0,
    },
    seeds=1,
    first=2,
)


# How well the loss ranks trained genotypes -------------------------------------------------------------------------

RANKED, EVALUATORS = 40, ("rmi", "combined", "params", "flops")
RANKINGS = {
    title: RmiRun(
        f"rminas/darts{title.split()[0]}",
        "darts_cifar10",
        {**PUBLISHED_SEARCH.paths, "BENCHMARK__PATH": TABLES[title][0]},
        {"TRAIN__BATCH_SIZE": BATCH},
        seeds=1,
        rank=RANKED,
        evaluators=EVALUATORS,
    )
    for title in [*TABLES][:2]
}


def tau_page() -> str:
    kept = {title: read(run.name) for title, run in RANKINGS.items()}
    rows = {
        title: {line["score"]: line for line in runs.records[0]["rows"]} if runs.records else {}
        for title, runs in kept.items()
    }
    lines = head("score", *(f"Kendall tau, its 95 % interval, {title} (genotypes)" for title in kept))
    for score in dict.fromkeys(name for made in rows.values() for name in made):
        told = [_tau(made[score]) if score in made else "" for made in rows.values()]
        lines.append(row(score, *told))
    trained = [sum(line.get("evaluator") == EVALUATORS[0] for line in runs.evaluations) for runs in kept.values()]
    counts = " and ".join(f"{count} of {RANKED}" for count in trained)
    return "\n".join(
        [
            *lines,
            "",
            f"Random genotypes of the two tables as networks of the published size, trained with batches of {BATCH} "
            f"(published: 128); so far the RMI loss of {counts} is known. What has to be predicted are validation "
            "accuracies after 200 epochs and test accuracies after 600.",
        ]
    )


def _tau(line: Mapping[str, Any]) -> str:
    low, high = line["kendall_tau_interval"]
    return f"{line['kendall_tau']:.3f}, {low:.2f} to {high:.2f} ({line['n']})"


def darts_page() -> str:
    kept = read(PLACES.name)
    places = kept.records[0]["places"] if kept.records else {}
    titles = [f"predicted by {title}" for title in TABLES]
    lines = head("method", "GPU days", "test error %, its own paper", "test error %, retrained in the paper", *titles)
    for name in [*PUBLISHED, SCREENED, SEARCHED]:
        told = PUBLISHED.get(name, ("", "", ""))
        lines.append(row(name, *told, *(_placed(places.get(title), name) for title in TABLES)))
    taus = ", ".join(f"{made['kendall_tau']:.2f} ({title})" for title, made in places.items())
    return "\n".join(
        [
            *lines,
            "",
            "GPU days and errors are cited: retraining a genotype takes 600 epochs on a GPU (`python -m "
            "rminas.retrain`). *Predicted*: the accuracy (%) that a Gaussian process foretells which has learnt a "
            "table of other genotypes, and the share of these that it holds for worse. The surrogate is "
            "NAS-Bench-301's, whose accuracies are themselves predicted. How well each orders genotypes that it has "
            f"not seen, as Kendall tau: {taus or 'not yet'}. Our own search of RMI-NAS makes {_searched()}. The "
            "genotype called SNAS is the one of 2.7 million parameters that circulates under this name; RMI-NAS's own "
            "was not published.",
        ]
    )


def _searched() -> str:
    """What the search was cut to."""
    kept = read(SEARCH.name)
    evaluated = f"{kept.records[0]['evaluations']} networks evaluated" if kept.records else "not yet"
    return (
        f"at most {SEARCH.settings['RMINAS__OBSERVE']} updates a network (published: 250) with batches of {BATCH} "
        f"(published: 128); {evaluated}"
    )


def _placed(made: Any, name: str) -> str:
    if made is None or name not in made["names"]:
        return ""
    which = made["names"].index(name)
    return f"{made['predicted'][which]:.2f} (better than {made['better_than'][which]:.0%})"
