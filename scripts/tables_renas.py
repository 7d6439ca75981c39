"""The tables of ReNAS (Xu et al., CVPR 2021): which runs they are made of, and how they are told.

Every run is a `renas.run`, seed by seed. What was published is what ../shared/papers/renas.md lists of the paper.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from records import Kept, difference, head, read, row, spread, values

NB101, NB201 = "nasbench101/valid_20001.csv", "nasbench201/accuracy_full.csv"
LABELS = 424  # 0.1 % of NAS-Bench-101, the paper's budget
LEFT_OUT = ("loss", "train_tau", "trained", "evaluated", "phases")  # long, and no table's matter
DATASETS = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet16_120": "ImageNet16-120"}


Lines = list[dict[str, Any]]


@dataclass(frozen=True)
class RenasRun:
    """ReNAS with one setting, on one table. labels: trained on. report: the column that is reported, if not test."""

    name: str
    file: str
    dataset: str
    labels: int = LABELS
    encoding: str = "tensor"
    settings: Mapping[str, Any] = field(default_factory=dict)
    protocol: str = "honest"
    report: str | None = None
    seeds: int = 10
    first: int = 0

    @property
    def files(self) -> tuple[str, ...]:
        return (self.file,)

    def make(self, seeds: Sequence[int], data: Path, runs: Path) -> Iterator[tuple[dict[str, Any], Lines]]:
        """The settings and the record of one seed after the other."""
        import renas
        from common.runs import environment

        table = _load(data / self.file, self.dataset)
        for seed in seeds:
            started = time.perf_counter()
            done = renas.run(
                table,
                dataset=self.dataset,
                train_num=self.labels,
                encoding=self.encoding,
                settings=self.settings,
                protocol=self.protocol,
                report=self.report,
                seed=seed,
                device="cpu",
                out=runs / self.name,
            )
            config = json.loads((done.folder / "config.json").read_text())
            record = {key: value for key, value in done.records[0].items() if key not in LEFT_OUT}
            seconds = time.perf_counter() - started
            record |= {"seconds": round(seconds, 2), "environment": environment(record["device"])}
            yield {key: value for key, value in config.items() if key not in ("data_path", "data")}, [record]


@lru_cache(maxsize=1)
def _load(path: Path, dataset: str) -> Any:
    from common.benchmarks import load_benchmark

    return load_benchmark(path, dataset=dataset)


# What the paper printed --------------------------------------------------------------------------------------------

TAU = {424: 0.657, 4236: 0.816}  # NAS-Bench-101, over the whole space
FOUND_101 = {  # NAS-Bench-101: test accuracy (%), its deviation, rank in the space (%)
    "Peephole": (92.63, 0.31, 12.32),
    "E2EPP": (93.47, 0.44, 1.23),
    "random search": (93.72, 0.13, 0.23),
    "ReNAS-1": (92.36, 0.27, 16.93),
    "ReNAS-2": (93.03, 0.21, 6.09),
    "ReNAS-3": (93.43, 0.26, 1.50),
    "ReNAS-4": (93.90, 0.21, 0.04),
    "ReNAS-5": (93.48, 0.18, 1.21),
    "ReNAS-6": (93.95, 0.11, 0.02),
}
FOUND_201 = {"cifar10": (93.99, 0.25), "cifar100": (72.12, 0.79), "imagenet16_120": (45.97, 0.49)}
# The paper's six variants; which is which is inferred from its numbers.
CONTINUITY = 0.1
VARIANTS: dict[int, tuple[str, str, str, dict[str, Any]]] = {
    1: ("type matrix", "MSE", "tensor=type", {"loss": "mse"}),
    2: ("full tensor", "MSE", "tensor", {"loss": "mse"}),
    3: ("type matrix", "ranking", "tensor=type", {}),
    4: ("full tensor", "ranking", "tensor", {}),
    5: ("type matrix", "ranking + continuity", "tensor=type", {"continuity": CONTINUITY}),
    6: ("full tensor", "ranking + continuity", "tensor", {"continuity": CONTINUITY}),
}

# Runs --------------------------------------------------------------------------------------------------------------


def on_101(labels: int = LABELS, variant: int = 4, seeds: int = 10) -> RenasRun:
    _, _, encoding, settings = VARIANTS[variant]
    return RenasRun(f"renas/nb101_{labels}_{variant}", NB101, "cifar10", labels, encoding, settings, seeds=seeds)


def on_201(dataset: str, labels: int = LABELS, variant: int = 4) -> RenasRun:
    _, _, encoding, settings = VARIANTS[variant]
    return RenasRun(f"renas/nb201_{dataset}_{labels}_{variant}", NB201, dataset, labels, encoding, settings)


TAU_101 = tuple(on_101(labels, seeds=3 if labels > 1000 else 10) for labels in (100, 172, LABELS, 4236))
LABELS_201 = {
    "cifar10": (78, 156, LABELS, 781, 1563),
    "cifar100": (78, 156, LABELS),
    "imagenet16_120": (78, 156, LABELS),
}
TAU_201 = tuple(on_201(dataset, labels) for dataset, sizes in LABELS_201.items() for labels in sizes)
ONE_RUN = RenasRun("renas/nb201_cifar10_424_one_run", NB201, "cifar10", report="cifar10_valid_200")
VARIANTS_101 = tuple(on_101(variant=variant) for variant in VARIANTS)
VARIANTS_201 = tuple(on_201("cifar10", variant=variant) for variant in VARIANTS)
LOSSES = {
    "logistic": on_101(),
    "hinge": RenasRun("renas/nb101_424_hinge", NB101, "cifar10", settings={"loss": "hinge"}),
    "exponential": RenasRun("renas/nb101_424_exponential", NB101, "cifar10", settings={"loss": "exponential"}),
}
WEIGHTS = {
    0.0: on_101(),
    0.01: RenasRun("renas/nb101_424_continuity_0.01", NB101, "cifar10", settings={"continuity": 0.01}),
    CONTINUITY: on_101(variant=6),
    1.0: RenasRun("renas/nb101_424_continuity_1", NB101, "cifar10", settings={"continuity": 1.0}),
}
HONEST = {"nb101": on_101(), **{f"nb201 {dataset}": on_201(dataset) for dataset in DATASETS}}
DEMO = {
    "nb101": RenasRun("renas/nb101_demo", NB101, "cifar10", protocol="demo"),
    **{
        f"nb201 {dataset}": RenasRun(f"renas/nb201_{dataset}_demo", NB201, dataset, protocol="demo")
        for dataset in DATASETS
    },
}


# Pages -------------------------------------------------------------------------------------------------------------


def tau(kept: Kept) -> list[float]:
    return values(kept, lambda record: record["kendall_tau"])


def _tau_told(kept: Kept) -> str:
    return f"{spread(tau(kept), 3)} (n = {len(kept.records)})" if kept.records else "(not yet)"


def _lost(one: Kept, other: Kept) -> str:
    return difference(tau(other), float(np.mean(tau(one))), 3) if one.records and other.records else "not yet known"


def _candidate(record: Mapping[str, Any], which: str) -> Mapping[str, Any]:
    """found: by the protocol; first: the predictor's best; ten: the best by label of those it proposes; sample: the
    best by label of the random cells that it was trained on, which is random search."""
    if which == "first":
        return record["candidates"][0]
    if which == "ten":
        return max(record["candidates"], key=lambda found: found["label"])
    return record["best_trained" if which == "sample" else "found"]


def accuracy(kept: Kept, which: str) -> str:
    return spread(values(kept, lambda record: _candidate(record, which)["test_acc"]), 2)


def ranks(kept: Kept, which: str) -> list[float]:
    return values(kept, lambda record: _candidate(record, which)["rank_percent"])


def _found(kept: Kept, which: str) -> str:
    """Accuracy, and the rank in the space in percent."""
    return f"{accuracy(kept, which)} ({spread(ranks(kept, which), 2)})" if kept.records else ""


def tau_101_page() -> str:
    lines = head("labels", "n", "Kendall tau here", "published, whole space", "difference")
    for run in TAU_101:
        kept, published = read(run.name), TAU.get(run.labels)
        told = ("", "") if published is None else (f"{published:.3f}", difference(tau(kept), published, 3))
        lines.append(row(run.labels, len(kept.records), spread(tau(kept), 3), *told))
    mean, official, one_run = (read(run.name) for run in (DEMO["nb201 cifar10"], on_201("cifar10"), ONE_RUN))
    return "\n".join(
        [
            *lines,
            "",
            "Here labels and truth are validation accuracies of one training run on 20,001 of the 423,624 cells. What "
            f"that noise costs, on NAS-Bench-201 (CIFAR-10), where both are known: predictors of {LABELS} mean test "
            f"accuracies have a tau of {_tau_told(mean)} with these; of {LABELS} one-run validation accuracies, one of "
            f"{_tau_told(official)} with mean test accuracies, and of {_tau_told(one_run)} with one-run validation "
            f"accuracies themselves. From the first to the last it is {_lost(mean, one_run)}, to be held against the "
            "differences above.",
        ]
    )


def tau_201_page() -> str:
    sizes = LABELS_201["cifar10"]
    lines = head("images", *(f"{labels} labels" for labels in sizes))
    for dataset, title in DATASETS.items():
        cells = []
        for labels in sizes:
            kept = read(on_201(dataset, labels).name) if labels in LABELS_201[dataset] else Kept()
            cells.append(f"{spread(tau(kept), 3)} ({len(kept.records)})" if kept.records else "")
        lines.append(row(title, *cells))
    return "\n".join([*lines, "", "Kendall tau over all cells that were not trained on (n). Nothing was published."])


def _variant_rows(runs: Sequence[RenasRun], published: bool) -> Iterator[str]:
    for (number, (features, loss, _, _)), run in zip(VARIANTS.items(), runs, strict=True):
        kept = read(run.name)
        cells = [spread(tau(kept), 3), *(_found(kept, which) for which in ("first", "ten", "found"))]
        if published:
            acc, std, rank = FOUND_101[f"ReNAS-{number}"]
            cells += [f"{acc:.2f} ± {std:.2f} ({rank:.2f})", difference(ranks(kept, "ten"), rank, 2)]
        yield row(f"ReNAS-{number}", features, loss, len(kept.records), *cells)


VARIANT_HEAD = (
    "method",
    "features",
    "loss",
    "n",
    "Kendall tau",
    "predictor's first",
    "best of its ten",
    "best of its ten and the labelled",
)


def variants_101_page() -> str:
    lines = head(*VARIANT_HEAD, "published, test % (rank %)", "rank of the ten less published")
    lines += _variant_rows(VARIANTS_101, published=True)
    sample = read(on_101().name)
    for method, (acc, std, rank) in FOUND_101.items():
        told = f"{acc:.2f} ± {std:.2f} ({rank:.2f})"
        if method == "random search":
            cells = (f"{LABELS} cells, run", "", len(sample.records), "", "", "", _found(sample, "sample"))
            lines.append(row(method, *cells, told, difference(ranks(sample, "sample"), rank, 2)))
        elif not method.startswith("ReNAS"):
            lines.append(row(method, "cited", "", "", "", "", "", "", told, ""))
    return "\n".join(
        [
            *lines,
            "",
            "Accuracy in % (rank in the space in %): here validation accuracies of one run among 20,001 cells.",
        ]
    )


def variants_201_page() -> str:
    lines = [*head(*VARIANT_HEAD), *_variant_rows(VARIANTS_201, published=False)]
    return "\n".join([*lines, "", "CIFAR-10 test accuracy in % (rank in the space in %). The paper has no such table."])


def losses_page() -> str:
    lines = head("phi", "weight of the continuity term", "n", "Kendall tau", "best of the ten", "found")
    rows = [(phi, 0.0, run) for phi, run in LOSSES.items()]
    rows += [("logistic", weight, run) for weight, run in WEIGHTS.items() if weight]
    for phi, weight, run in rows:
        kept = read(run.name)
        cells = spread(tau(kept), 3), _found(kept, "ten"), _found(kept, "found")
        lines.append(row(phi, f"{weight:g}", len(kept.records), *cells))
    return "\n".join(
        [
            *lines,
            "",
            f"NAS-Bench-101, {LABELS} labels; accuracies as above. The paper chose the logistic phi and does not print "
            "the form of its continuity term: this one is ours (`renas/losses.py`).",
        ]
    )


def found_201_page() -> str:
    lines = head(
        "images", "n", "found", "published", "difference", f"random search, {LABELS} cells", "predictor's first",
        "best of its ten", "Kendall tau",
    )  # fmt: skip
    for dataset, title in DATASETS.items():
        kept, (acc, std) = read(on_201(dataset).name), FOUND_201[dataset]
        found = values(kept, lambda record: record["found"]["test_acc"])
        cells = [accuracy(kept, which) for which in ("sample", "first", "ten")]
        lines.append(
            row(
                title,
                len(kept.records),
                f"**{spread(found, 2)}**" if found else "not yet",
                f"{acc:.2f} ± {std:.2f}",
                difference(found, acc, 2),
                *cells,
                spread(tau(kept), 3),
            )
        )
    return "\n".join(
        [
            *lines,
            "",
            f"Test accuracy in % after 200 epochs; trained on {LABELS} and chosen by 200-epoch validation accuracies "
            "of one run, from the labelled cells and the predictor's ten.",
        ]
    )


def demo_page() -> str:
    lines = head("table", "n", "demo: best of its ten", "demo: tau", "n", "honest: found", "honest: tau")
    for name in DEMO:
        demo, honest = read(DEMO[name].name), read(HONEST[name].name)
        demo_cells = len(demo.records), _found(demo, "found"), spread(tau(demo), 3)
        lines.append(row(name, *demo_cells, len(honest.records), _found(honest, "found"), spread(tau(honest), 3)))
    return "\n".join(
        [
            *lines,
            "",
            "The demo trains on and chooses by test accuracy, and its ten may hold cells that it was trained on. The "
            "20,001 cells of NAS-Bench-101 have validation accuracies only: both protocols use these.",
        ]
    )
