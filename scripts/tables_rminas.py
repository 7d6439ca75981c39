"""The tables of RMI-NAS (Zheng et al., CVPR 2022), and of what its table of NAS-Bench-201 compares it with.

RL, regularised evolution and random search are run here on the table, as the benchmark's authors ran them; what was
published is what ../shared/papers/rminas.md and ../shared/seeds list.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from records import ROOT, Kept, difference, head, place_of, read, row, spread, values
from tables_renas import DATASETS, LABELS, NB201, Lines, on_201

from common.errors import InputError

RESULTS = ROOT / "docs/results"
STAND_IN = "tiny_imagenet/tiny_imagenet120_32px.npz"  # for ImageNet16-120: 120 classes of Tiny-ImageNet
EVALUATED = (50, 100, 150, 200)  # after how many evaluations what was chosen is looked up
BLOCK = 50  # seeds that are run before their records are kept


@dataclass(frozen=True)
class SearchRun:
    """A strategy on NAS-Bench-201 that sees 12-epoch validation accuracies; 200-epoch test accuracies are reported."""

    name: str
    strategy: str
    dataset: str
    settings: Mapping[str, Any]
    seeds: int = 500
    first: int = 0
    file: str = NB201

    @property
    def files(self) -> tuple[str, ...]:
        return (self.file,)

    @property
    def label(self) -> str:
        return f"{self.dataset}_valid_12"

    def make(self, seeds: Sequence[int], data: Path, runs: Path) -> Iterator[tuple[dict[str, Any], Lines]]:
        """The settings and the records of one block of seeds after the other."""
        from common.benchmarks import load_benchmark
        from renas import compare

        table = load_benchmark(data / self.file, dataset=self.dataset)
        reported = {name: table.column(f"{name}_test_200").values for name in DATASETS}
        for block in blocks(seeds):
            done = compare.run(
                table,
                dataset=self.dataset,
                strategies=(self.strategy,),
                settings={self.strategy: self.settings},
                budget=max(EVALUATED),
                label=self.label,
                report=f"{self.dataset}_test_200",
                seed=block[0],
                seeds=len(block),
                jobs=1,
                out=runs / self.name,
            )
            config = json.loads((done.folder / "config.json").read_text())
            config = {key: value for key, value in config.items() if key not in ("data_path", "data")}
            kept = [
                {
                    "seed": record["seed"],
                    "chosen": {str(count): chosen(record, count, reported) for count in EVALUATED},
                    "seconds": round(record["seconds"], 3),
                    "environment": done.summary["environment"],
                }
                for record in done.records
            ]
            yield config, kept


@dataclass(frozen=True)
class RmiRun:
    """A search of RMI-NAS by a config, or a ranking. paths: keys that name data files, relative to the data folder.

    rank: of a ranking, how many architectures; evaluators: which it compares.
    What judges the result (`BENCHMARK`) is no setting of the search: evaluations that were kept beside one table are
    gone on with beside another, and only summaries by the run's own table are kept.
    """

    name: str
    config: str
    paths: Mapping[str, str]
    settings: Mapping[str, Any] = field(default_factory=dict)
    seeds: int = 3
    first: int = 7
    rank: int = 0
    evaluators: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        return tuple(self.paths.values())

    @property
    def folder(self) -> str:
        """Of its runs, inside the folder of all."""
        return f"{self.name}_rank" if self.rank else self.name

    def make(self, seeds: Sequence[int], data: Path, runs: Path) -> Iterator[tuple[dict[str, Any], Lines]]:
        """One seed after the other, from the evaluations that are kept."""
        import rminas
        from common.runs import RunFolder
        from common.runs.config import nested
        from rminas.api import CONFIG_FILE, FREE
        from rminas.config import load_config

        options = {**self.settings, **{key: str(data / path) for key, path in self.paths.items()}}
        options |= {"NAME": Path(self.name).name, "OUT_DIR": str((runs / self.name).parent)}
        settings = nested(load_config(self.config, **options))
        with RunFolder.open(runs / self.folder, settings, CONFIG_FILE, FREE) as folder:
            there = {place_of(record) for record in folder.records()}
            for line in read(self.name).evaluations:
                if place_of(line) not in there:
                    folder.append({key: value for key, value in line.items() if key != "environment"})
        for seed in seeds:
            made: Any
            if self.rank:
                made = rminas.rank(self.config, self.rank, self.evaluators, RNG_SEED=seed, **options)
            else:
                made = rminas.run(self.config, RNG_SEED=seed, **options)
            yield self.collected(made.folder, made.summary["environment"])

    def collected(self, folder: Path, environment: Mapping[str, Any]) -> tuple[dict[str, Any], Lines]:
        """The settings and all that a run folder holds: evaluations, and the seeds that its summary tells."""
        from rminas.api import CONFIG_FILE, FREE, INPUTS_FILE

        try:
            config = yaml.safe_load((folder / CONFIG_FILE).read_text())
            judge = Path(config["BENCHMARK"]["PATH"]).name
            config = {key: value for key, value in config.items() if key not in (*FREE, "BENCHMARK")}
            if (folder / INPUTS_FILE).exists():  # costs need no images
                config["inputs"] = json.loads((folder / INPUTS_FILE).read_text())
            whole = (folder / "evaluations.jsonl").read_text().split("\n")[:-1]  # it may be written to at this moment
            lines = [{**json.loads(line), "environment": environment} for line in whole]
        except (OSError, ValueError, AttributeError, LookupError, TypeError, yaml.YAMLError) as error:
            raise InputError(f"{folder} is not the folder of a search of RMI-NAS ({error})") from None
        if (folder / "summary.json").exists() and judge == Path(self.paths.get("BENCHMARK__PATH", "")).name:
            summary = json.loads((folder / "summary.json").read_text())
            told = {"benchmark": summary["benchmark"], "environment": summary["environment"]}
            seconds = "evaluate_s" if self.rank else "search_s"
            lines += [{**run, "seconds": run[seconds], **told} for run in summary["runs"]]
        return config, lines


def blocks(seeds: Sequence[int]) -> Iterator[list[int]]:
    """Seeds in runs of consecutive ones, each of at most BLOCK."""
    run: list[int] = []
    for seed in seeds:
        if run and (seed != run[-1] + 1 or len(run) == BLOCK):
            yield run
            run = []
        run.append(seed)
    if run:
        yield run


def chosen(record: Mapping[str, Any], count: int, reported: Mapping[str, Any]) -> dict[str, Any]:
    """Of the first `count` evaluations the one with the best label: its row and its test accuracies."""
    labels = record["label"][:count]
    index = record["rows"][max(range(len(labels)), key=lambda place: labels[place])]
    return {"index": index, **{name: float(accuracies[index]) for name, accuracies in reported.items()}}


# What the paper and the benchmark's authors printed ----------------------------------------------------------------

# NAS-Bench-201, test accuracy (%) and its deviation by data set; seconds of the search.
Published = dict[str, tuple[float, float]]
PUBLISHED: dict[str, tuple[Published, float | None]] = {
    "RMI-NAS": ({"cifar10": (94.28, 0.10), "cifar100": (73.36, 0.19), "imagenet16_120": (46.34, 0.0)}, 1258.2),
    "RL": ({"cifar10": (93.85, 0.37), "cifar100": (71.71, 1.09), "imagenet16_120": (45.24, 1.18)}, 27870.7),
    "REA": ({"cifar10": (93.92, 0.30)}, None),
    "random search": ({"cifar10": (93.70, 0.36)}, None),
    "DARTS-V2": ({"cifar10": (54.30, 0.0), "cifar100": (15.61, 0.0), "imagenet16_120": (16.32, 0.0)}, 35781.8),
    "GDAS": ({"cifar10": (93.61, 0.09), "cifar100": (70.70, 0.30), "imagenet16_120": (41.71, 0.98)}, 31609.8),
    "FairNAS": ({"cifar10": (93.23, 0.18), "cifar100": (71.00, 1.46), "imagenet16_120": (42.19, 0.31)}, 9845.0),
}
BEST = {"cifar10": 94.37, "cifar100": 73.51, "imagenet16_120": 47.31}

# Runs --------------------------------------------------------------------------------------------------------------

# As published for the benchmark: populations of 10 and tournaments of 3; Adam at 0.01.
STRATEGIES: dict[str, tuple[str, dict[str, Any], int]] = {
    "REA": ("evolution", {"population": 10, "tournament": 3}, 500),
    "RL": ("reinforce", {"lr": 0.01}, 500),
    "random search": ("random", {}, 500),
}
SEARCHES = {
    (title, dataset): SearchRun(f"rminas/nb201_{dataset}_12epochs_{strategy}", strategy, dataset, settings, seeds)
    for title, (strategy, settings, seeds) in STRATEGIES.items()
    for dataset in DATASETS
}


PUBLISHED_SEARCH = RmiRun(
    "rminas/nb201_cifar10_published",
    "nb201_cifar10",
    {
        "DATA__PATH": "cifar/cifar10_subset.npz",
        "TEACHER__WEIGHTS": "teachers/resnet20_cifar10.th",
        "BENCHMARK__PATH": NB201,
    },
)

# The settings of nb201_cifar10_fast; then the same on the data sets whose published settings would take days here.
RACED_SEARCH = replace(PUBLISHED_SEARCH, name="rminas/nb201_cifar10_raced", config="nb201_cifar10_fast")
FEWER_UPDATES = replace(RACED_SEARCH, name="rminas/nb201_cifar10_raced_20", settings={"RMINAS__OBSERVE": 20})
FAST = yaml.safe_load((ROOT / "configs/nb201_cifar10_fast.yaml").read_text(encoding="utf-8"))["RMINAS"]
RACED = {f"RMINAS__{key}": value for key, value in FAST.items()}
RACED_SEARCHES = {
    "cifar100": RmiRun(
        "rminas/nb201_cifar100_raced",
        "nb201_cifar100",
        {
            "DATA__PATH": "cifar/cifar100_subset.npz",
            "TEACHER__WEIGHTS": "teachers/resnet32_cifar100.pt",
            "BENCHMARK__PATH": NB201,
        },
        {"TEACHER__NAME": "resnet32", **RACED},
    ),
    "imagenet16_120": RmiRun(
        "rminas/nb201_imagenet16_raced",
        "nb201_imagenet16",
        {
            "DATA__PATH": STAND_IN,
            "TEACHER__WEIGHTS": "teachers/resnet32_tinyimagenet32.pt",
            "BENCHMARK__PATH": NB201,
        },
        {
            "DATA__NAME": "tinyimagenet120",
            "TEACHER__NUM_CLASSES": 200,
            "TRAIN__IM_SIZE": 16,
            "BENCHMARK__DATASET": "imagenet16_120",
            **RACED,
        },
    ),
}

AS_PUBLISHED, IS_RACED = "RMI-NAS, published settings", "RMI-NAS, raced, with size"
HALF_RACED = "the same with half the updates"

# Pages -------------------------------------------------------------------------------------------------------------


def after(kept: Kept, count: int, dataset: str) -> list[float]:
    return values(kept, lambda record: record["chosen"][str(count)][dataset])


def searches_page() -> str:
    lines = head("search", "seen", "reported", "n", *(f"{count} evaluations" for count in EVALUATED), "published")
    for (title, dataset), run in SEARCHES.items():
        kept = read(run.name)
        reported = [*DATASETS] if dataset == "cifar10" else [dataset]
        for name in reported:
            cells = [spread(after(kept, count, name), 2) for count in EVALUATED]
            published = PUBLISHED[title][0].get(name) if dataset == "cifar10" else None
            lines.append(row(title, run.label, f"{name}_test_200", len(kept.records), *cells, _told(published)))
    return "\n".join(
        [
            *lines,
            "",
            "Test accuracy in % of the cell with the best 12-epoch validation accuracy so far; isomorphic cells once. "
            "The protocol's budget is in simulated seconds of training, and no file at hand has seconds, so the number "
            "of evaluations is shown at four places: the authors' own scripts end evolution after 200.",
        ]
    )


def _told(published: tuple[float, float] | None) -> str:
    return "" if published is None else f"{published[0]:.2f} ± {published[1]:.2f}"


def nb201_page() -> str:
    lines = head("method", "what it costs", *DATASETS.values())
    for title, cost, cells in _nb201_rows():
        lines.append(row(title, cost, *(cells.get(dataset, "") for dataset in DATASETS)))
    return "\n".join(
        [
            *lines,
            "",
            "Test accuracy in %: here (n); what was published (here less that). Made here on the official accuracies, "
            "whose best cells are in the last row. *cited*: not run here. The published budgets of REA, RL and random "
            "search are in simulated seconds; 100 evaluations are shown, others in the next table. Screening and the "
            "raced search see images of a stand-in where ImageNet16-120 is asked for, and teachers of CIFAR-100 and of "
            "the stand-in are ResNet-32; costs are those on CIFAR-10.",
        ]
    )


def found_by(kept: Kept) -> list[float]:
    """Accuracy (%) of what every seed found."""
    return values(kept, lambda run: run["found"]["test_acc"])


def _cell(here: Sequence[float], published: tuple[float, float] | None) -> str:
    told = f"published {_told(published)}" if published else ""
    if not here:
        return told
    less = f" ({difference(here, published[0], 2)})" if published else ""
    return "; ".join(filter(None, [f"**{spread(here, 2)}** ({len(here)})", told + less]))


def _nb201_rows() -> Iterator[tuple[str, str, dict[str, str]]]:
    published, seconds = PUBLISHED["RMI-NAS"]
    for title, runs in _rmi_searches().items():
        found = [run["found"]["test_acc"] for run in runs]
        cells = {"cifar10": _cell(found, published["cifar10"])}
        if title == AS_PUBLISHED:
            cells |= {d: _cell([], p) for d, p in published.items() if d != "cifar10"}
        if title == IS_RACED:
            cells |= {d: _cell(found_by(read(run.name)), published[d]) for d, run in RACED_SEARCHES.items()}
        yield title, f"{_updates(runs):,.0f} updates" if runs else f"not yet; published: {seconds} s", cells
    for title in STRATEGIES:
        kept = {dataset: read(SEARCHES[title, dataset].name) for dataset in DATASETS}
        count = 100
        cells = {d: _cell(after(kept["cifar10"], count, d), PUBLISHED[title][0].get(d)) for d in DATASETS}
        yield f"{title}, on CIFAR-10", f"{count} cells, 12 epochs", cells
    for title, member in (("active search with a predictor", "active"), ("regularised evolution", "evolution")):
        cells, cost = {}, ""
        for dataset in DATASETS:
            summary = read_summary(f"search/nasbench201_{dataset.removesuffix('_120')}_q150")
            if summary is not None:
                cells[dataset] = _cell(summary["members"][member]["final_report"], None)
                cost = f"{summary['budget']} cells, 200 epochs"
        yield title, cost, cells
    screened = {}
    for dataset in DATASETS:
        summary = read_summary(f"screening/nb201_{dataset.removesuffix('_120')}_screening")
        if summary is not None:
            screened[dataset] = _cell([run["found"]["test_acc"] for run in summary["runs"]], None)
    if screened:
        yield "screening by training-free scores", "no trained cell", screened
    for title in ("DARTS-V2", "GDAS", "FairNAS"):
        cited, seconds = PUBLISHED[title]
        yield f"{title} *(cited)*", f"published: {seconds} s", {d: _cell([], p) for d, p in cited.items()}
    yield "best cell of the table", "", {d: f"{best:.2f}" for d, best in BEST.items()}


def published_page() -> str:
    kept = read(PUBLISHED_SEARCH.name)
    acc, std = PUBLISHED["RMI-NAS"][0]["cifar10"]
    lines = head("seed", "evaluations", "updates", "found, test %", "rank", "Kendall tau", "seconds")
    for run in kept.records:
        found = run["found"]
        lines.append(
            row(
                run["seed"],
                run["evaluations"],
                run["updates"],
                f"{found['test_acc']:.2f}",
                found["rank"],
                f"{run['kendall_tau']:.3f}",
                f"{run['search_s']:,.0f}",
            )
        )
    found = found_by(kept)
    of = f"; published {acc:.2f} ± {std:.2f} ({difference(found, acc, 2)})" if found else ""
    begun = len({line["seed"] for line in kept.evaluations} - kept.seeds)
    return "\n".join(
        [
            *lines,
            "",
            f"Found: {spread(found, 2) or 'nothing yet'}{of}; {len(kept.records)} of {PUBLISHED_SEARCH.seeds} seeds "
            f"are finished, {begun} begun ({len(kept.evaluations)} evaluations are kept in all). Tau is over all that "
            "a seed evaluated, which is mostly what its forest chose; seconds are of one core with other work, added "
            "up. Batches are drawn from 10,000 of the 50,000 training images.",
        ]
    )


# Costs -------------------------------------------------------------------------------------------------------------

TRAINING = 3  # of forward passes: the backward pass counts twice
BATCH, IMAGES = 32, 25_000  # of an update of RMI-NAS; of an epoch of the benchmark's validation half


@lru_cache(maxsize=2)
def forward_gflop(cells_per_stage: int = 5) -> float:
    """A forward pass of one image through the mean network of NAS-Bench-201, two FLOPs a multiply-accumulate."""
    from common.spaces import make_space

    space = make_space("nasbench201", cells_per_stage=cells_per_stage)
    return 2 * float(space.total_costs(space.all_codes())[0].mean()) / 1e9


def lenet_gflop(labels: int, cells: int) -> float:
    """200 epochs of training of ReNAS's predictor on 31 x 4 x 4 tensors, and scoring all cells."""
    channels, width, places = 31, 62, 16
    forward = 2 * (9 * places * (channels * width + width * 128) + 128 * places * 120 + 120 * 84 + 84) / 1e9
    return forward * (TRAINING * 200 * labels + cells)


def score_updates(score: str) -> float:
    """As many updates of RMI-NAS have the FLOPs of a training-free score, on the same network and batch."""
    price = read_summary("scores/price")
    assert price is not None
    (rmi,) = (values for name, values in price["flops"].items() if name.startswith("rmi"))
    return float(price["rmi_updates"] * sum(price["flops"][score]) / sum(rmi))


def costs_page() -> str:
    lines = head(
        "method",
        "seconds here",
        "updates of candidates",
        "GFLOP of the search itself",
        "trained cells, epochs",
        "GFLOP of their training",
        "found",
    )
    for cells in _costs():
        lines.append(row(*cells))
    return "\n".join(
        [
            *lines,
            "",
            f"NAS-Bench-201, CIFAR-10. GFLOP are counted for the mean network of the space ({forward_gflop():.3f} "
            f"an image forward, two FLOPs a multiply-accumulate, a training step {TRAINING} times that), batches of "
            f"{BATCH} in RMI-NAS, epochs of {IMAGES:,} images in the benchmark, so that a row can be compared "
            "across machines; a training-free score has the share of an update that was counted on three cells "
            "([scores](scores.md)). Seconds are of two shared cores, mostly busy with other work: upper bounds. The "
            "paper gives 1258.2 s for RMI-NAS.",
        ]
    )


def _costs() -> Iterator[tuple[str, ...]]:
    step = TRAINING * BATCH * forward_gflop()
    for title, runs in _rmi_searches().items():
        if runs:
            found = spread([run["found"]["test_acc"] for run in runs], 2)
            seconds = statistics.mean(run["search_s"] for run in runs)
            updates = _updates(runs)
            yield title, f"{seconds:,.0f}", f"{updates:,.0f}", f"{step * updates:,.0f}", "0", "0", found
    screened = read_summary("screening/nb201_cifar10_screening")
    if screened is not None:
        settings, mean = screened["settings"], screened["mean"]
        network = forward_gflop(settings["SPACE"]["CELLS_PER_STAGE"])
        update = TRAINING * settings["TRAIN"]["BATCH_SIZE"] * network
        gflop = mean["evaluations"] * update * score_updates(settings["RMINAS"]["EVALUATOR"])
        found = spread([run["found"]["test_acc"] for run in screened["runs"]], 2)
        title = "screening by training-free scores"
        yield title, f"{mean['search_s']:,.0f}", "0", f"{gflop:,.0f}", "0", "0", found
    trained = TRAINING * IMAGES * forward_gflop()  # of one cell, one epoch
    kept = read(on_201("cifar10").name)
    if kept.records:
        seconds = statistics.mean(record["train_s"] + record["score_s"] for record in kept.records)
        found = spread(found_by(kept), 2)
        cells = LABELS + 10
        gflop = lenet_gflop(LABELS, 15_625)
        yield "ReNAS", f"{seconds:,.0f}", "0", f"{gflop:,.0f}", f"{cells}, 200", f"{trained * cells * 200:,.0f}", found
    for title in STRATEGIES:
        kept = read(SEARCHES[title, "cifar10"].name)
        if kept.records:
            seconds = statistics.mean(record["seconds"] for record in kept.records)
            found = spread(after(kept, 100, "cifar10"), 2)
            yield title, f"{seconds:.2f}", "0", "0", "100, 12", f"{trained * 100 * 12:,.0f}", found
    summary = read_summary("search/nasbench201_cifar10_q150")
    if summary is not None:
        for member, title in (("active", "active search with a predictor"), ("evolution", "regularised evolution")):
            found, budget = summary["members"][member], summary["budget"]
            gflop = trained * budget * 200
            seen = spread(found["final_report"], 2)
            yield title, f"{found['seconds']:.2f}", "0", "not counted", f"{budget}, 200", f"{gflop:,.0f}", seen


def _rmi_searches() -> dict[str, Lines]:
    """Finished seeds of the searches of RMI-NAS, by title."""
    some = read_summary("rminas/search_nb201_60updates") or {"runs": []}
    return {
        AS_PUBLISHED: read(PUBLISHED_SEARCH.name).records,
        "RMI-NAS, 60 of 150 updates": some["runs"],
        IS_RACED: read(RACED_SEARCH.name).records,
        HALF_RACED: read(FEWER_UPDATES.name).records,
    }


def _updates(runs: Lines) -> float:
    return statistics.mean(run["updates"] for run in runs)


def read_summary(name: str) -> dict[str, Any] | None:
    """A committed summary of docs/results; None where it is not."""
    file = RESULTS / f"{name}.json"
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.exists() else None
