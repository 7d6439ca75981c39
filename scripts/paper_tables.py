"""Every table and figure of the two papers: what it is made of, what it needs, and how far it is reproduced.

The papers are known here by what they print (facts listed beside the data), so tables are named by what they show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import tables_chains as chain_tables
import tables_cheaper as cheaper_tables
import tables_darts as darts_tables
import tables_renas as renas_tables
import tables_rminas as rminas_tables
from records import head, read, row

FEWEST = 3  # seeds below which nothing counts as made

REPRODUCED, PARTLY, STAND_IN, CITED, NOT_YET, BEYOND = (
    "reproduced",
    "reproduced in part",
    "reproduced on a stand-in",
    "cited",
    "not yet",
    "beyond",
)


class Run(Protocol):
    """One setting of a method, of which every seed is a record."""

    @property
    def name(self) -> str: ...
    @property
    def seeds(self) -> int: ...
    @property
    def first(self) -> int: ...
    @property
    def files(self) -> tuple[str, ...]: ...
    def make(self, seeds: Sequence[int], data: Path, runs: Path) -> Iterator[tuple[dict[str, Any], list[dict]]]: ...


@dataclass(frozen=True)
class PaperTable:
    """A table or figure.

    state: what it is once its runs are there; why: on what data, or what is missing, in a few words. command: what
    makes it where `reproduce.py NAME` does not. files: what it needs beside the files of its runs.
    """

    name: str
    paper: str
    title: str
    state: str
    why: str
    page: Callable[[], str] | None = None
    runs: tuple[Run, ...] = ()
    files: tuple[str, ...] = ()
    time: str = ""
    command: str = ""

    @property
    def needs(self) -> list[str]:
        return [*dict.fromkeys([*(file for run in self.runs for file in run.files), *self.files])]

    def state_now(self) -> str:
        """The state, with the number of seeds; where settings or seeds are missing, how many are there."""
        if not self.runs:
            return self.state
        counts = [(len(read(run.name).records), min(FEWEST, run.seeds)) for run in self.runs]
        fewest, most = min(made for made, _ in counts), max(made for made, _ in counts)
        n = f"n = {fewest}" if fewest == most else f"n = {fewest} to {most}"
        if all(made >= needed for made, needed in counts):
            return f"{self.state}, {n}"
        if not most:
            return NOT_YET
        done = sum(made >= needed for made, needed in counts)
        return f"begun: {done} of {len(counts)} settings have their seeds ({n})"

    def minutes(self) -> str:
        """How long all its seeds take on the machine that made the records."""
        total = 0.0
        for run in self.runs:
            seconds = [record["seconds"] for record in read(run.name).records]
            if not seconds:
                return self.time
            total += run.seeds * sum(seconds) / len(seconds)
        return f"{total / 60:.0f} min" if self.runs else self.time


RENAS, RMINAS = "ReNAS", "RMI-NAS"
R, M, D, C, L = renas_tables, rminas_tables, darts_tables, chain_tables, cheaper_tables
NB201 = R.NB201
TABLES = (
    PaperTable(
        "renas-features",
        RENAS,
        "figure: a cell as a feature tensor",
        REPRODUCED,
        "equal to a published worked example, vertex by vertex",
        files=("nasbench101/golden_vertex_costs.json",),
        time="seconds",
        command="python -m pytest tests/spaces/test_nasbench101.py",
    ),
    PaperTable(
        "renas-tau",
        RENAS,
        "Kendall tau by number of labels, NAS-Bench-101",
        STAND_IN,
        "20,001 of the 423,624 cells, one training run each",
        R.tau_101_page,
        (*R.TAU_101, R.DEMO["nb201 cifar10"], R.on_201("cifar10"), R.ONE_RUN),
    ),
    PaperTable(
        "renas-tau-201",
        RENAS,
        "the same on NAS-Bench-201, three data sets",
        BEYOND,
        "not in the paper",
        R.tau_201_page,
        R.TAU_201,
    ),
    PaperTable(
        "renas-variants",
        RENAS,
        "searched accuracy and rank on NAS-Bench-101: six variants, random search, E2EPP, Peephole",
        STAND_IN,
        "20,001 cells, validation accuracies of one run; E2EPP and Peephole are cited",
        R.variants_101_page,
        R.VARIANTS_101,
    ),
    PaperTable(
        "renas-variants-201",
        RENAS,
        "the six variants on NAS-Bench-201",
        BEYOND,
        "not in the paper",
        R.variants_201_page,
        R.VARIANTS_201,
    ),
    PaperTable(
        "renas-losses",
        RENAS,
        "the three phi, and the weight of the continuity term",
        STAND_IN,
        "20,001 cells; the term's form is ours",
        R.losses_page,
        (*R.LOSSES.values(), *(run for weight, run in R.WEIGHTS.items() if weight)),
    ),
    PaperTable(
        "renas-201",
        RENAS,
        "searched accuracy on NAS-Bench-201, three data sets",
        REPRODUCED,
        "official accuracies",
        R.found_201_page,
        tuple(R.on_201(dataset) for dataset in R.DATASETS),
    ),
    PaperTable(
        "renas-demo",
        RENAS,
        "the demo's protocol beside the honest one",
        STAND_IN,
        "NAS-Bench-201 by official accuracies, NAS-Bench-101 by 20,001 cells",
        R.demo_page,
        (*R.DEMO.values(), *R.HONEST.values()),
    ),
    PaperTable(
        "renas-official",
        RENAS,
        "all NAS-Bench-101 tables over the whole space",
        NOT_YET,
        "the official file is not at hand",
        files=("nasbench_only108.tfrecord",),
        time="30 s a seed and setting",
        command="python -m renas --data_path nasbench_only108.tfrecord --train_ratio 0.001 --seeds 10",
    ),
    PaperTable(
        "rminas-201",
        RMINAS,
        "NAS-Bench-201: RMI-NAS beside RL, DARTS-V2, GDAS, FairNAS; our own searches",
        PARTLY,
        "RL, REA and random search are run, DARTS-V2, GDAS and FairNAS cited; RMI-NAS's own row: rminas-201-published",
        M.nb201_page,
        (
            *(M.SEARCHES[title, "cifar10"] for title in M.STRATEGIES),
            M.RACED_SEARCH,
            M.FEWER_UPDATES,
            *M.RACED_SEARCHES.values(),
        ),
    ),
    PaperTable(
        "rminas-201-searches",
        RMINAS,
        "its comparison: REA, RL and random search by 12-epoch validation accuracies",
        REPRODUCED,
        "official accuracies; evaluations in place of simulated seconds",
        M.searches_page,
        tuple(M.SEARCHES.values()),
    ),
    PaperTable(
        "rminas-201-published",
        RMINAS,
        "RMI-NAS by its published settings, CIFAR-10, three seeds",
        STAND_IN,
        "10,000 of the 50,000 training images; hours a seed",
        M.published_page,
        (M.PUBLISHED_SEARCH,),
        time="about 5 h a seed on one core",
    ),
    PaperTable(
        "rminas-tau",
        RMINAS,
        "how well the loss ranks random networks, by updates, depth and size; what cheaper settings would choose",
        BEYOND,
        "no tau was published",
        L.page,
        (*L.SOURCES.values(), L.READ),
    ),
    PaperTable(
        "rminas-darts",
        RMINAS,
        "DARTS space, CIFAR-10: test error of the retrained genotypes",
        CITED,
        "600 epochs of retraining need a GPU; what predictors foretell of the genotypes is ours",
        D.darts_page,
        (D.SEARCH, D.PLACES),
    ),
    PaperTable(
        "rminas-darts-tau",
        RMINAS,
        "how well the loss ranks 40 trained DARTS genotypes of either table after the published 250 updates",
        BEYOND,
        "nothing was published; batches of 32 in place of 128",
        D.tau_page,
        tuple(D.RANKINGS.values()),
        time="about 2 hours a table on one core",
    ),
    PaperTable(
        "rminas-imagenet",
        RMINAS,
        "DARTS and MobileNet spaces on ImageNet",
        NOT_YET,
        "ImageNet is not at hand",
        files=("ImageNet",),
        time="days on a GPU",
        command="python -m rminas --cfg mb_imagenet",
    ),
    PaperTable(
        "rminas-mobilenet",
        RMINAS,
        "a search of the MobileNet space",
        BEYOND,
        "images of a stand-in, accuracies predicted by Once-for-All's predictor",
        C.mobilenet_page,
        (C.SCREENING, C.KNOWN),
    ),
    PaperTable(
        "rminas-macro",
        RMINAS,
        "searches of NAS-Bench-Macro, a space of the XNAS port",
        BEYOND,
        "RMI-NAS cut to 10 updates of 30; screening at full size",
        C.macro_page,
    ),
    PaperTable(
        "costs",
        "both",
        "what a search costs, in seconds here and in GFLOP",
        BEYOND,
        "NAS-Bench-201, CIFAR-10; counted, not measured",
        M.costs_page,
        (R.on_201("cifar10"), *(M.SEARCHES[title, "cifar10"] for title in M.STRATEGIES)),
    ),
)


def listing() -> list[tuple[str, ...]]:
    """A row a table: name, paper, what it shows, data, time, state, why, command."""
    rows = []
    for table in TABLES:
        command = table.command or f"python scripts/reproduce.py {table.name}"
        needs = ", ".join(table.needs) or "nothing"
        rows.append(
            (table.name, table.paper, table.title, needs, table.minutes(), table.state_now(), table.why, command)
        )
    return rows


def listing_page() -> str:
    lines = head("table", "paper", "what it shows", "data", "time here", "state", "on what, or why not")
    for name, paper, title, needs, time, state, why, command in listing():
        made = f"[{name}](#{name})" if _of(name).page else f"{name}: `{command}`"
        lines.append(row(made, paper, title, needs, time, f"**{state}**", why))
    return "\n".join(lines)


def _of(name: str) -> PaperTable:
    return next(table for table in TABLES if table.name == name)
