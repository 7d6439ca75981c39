"""The command line of ReNAS: the published demo's flags, names and defaults, and what the toolkit adds to them."""

from __future__ import annotations

import argparse
import hashlib
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.cli import OneLineParser
from common.devices import DEVICES
from common.errors import InputError

if TYPE_CHECKING:
    from renas.experiment import Experiment

PROG = "python -m renas"
LOSSES = ("logistic", "hinge", "exponential", "mse")
FEATURES = ("type", "flops", "params")


def make_parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        PROG,
        "Train ReNAS's predictor on a small sample of a benchmark, search with it, and report what it found. "
        "Without --data_path it runs on the trained NAS-Bench-201 table that pip installs (AnalogNAS-Bench).",
    )
    demo = parser.add_argument_group("the published demo's flags")
    add = demo.add_argument
    add("--data_path", metavar="PATH", help="demo tensor folder, NAS-Bench-101 .tfrecord, NAS-Bench-201 .pth / CSV, "
        "NATS-Bench folder or NAS-Bench-Macro JSON; the kind is recognised from the content")  # fmt: skip
    add("--train_ratio", type=float, metavar="R", help="share of the architectures to train on; without it and "
        "--train_num: 0.001, but 424 architectures on benchmarks smaller than NAS-Bench-101")  # fmt: skip
    add("--total_num", type=int, metavar="N", help="use the first N architectures of the benchmark only")
    add("--lr", type=positive, default=1e-3, help="learning rate of Adam")
    add("--weight_decay", type=not_negative, default=0.0, help="weight decay of Adam")
    add("--num_epochs", type=whole, default=200, help="training epochs")
    add("--batch_size", type=at_least_two, default=1024, help="architectures per training batch")
    add("--count", type=whole, default=10, help="best-scored architectures whose accuracy is then looked up")

    add = parser.add_argument_group("data and protocol").add_argument
    add("--benchmark", metavar="KIND", help="kind of --data_path, if its content should not decide")
    add("--dataset", help="cifar10, cifar100 or imagenet16_120; default: the benchmark's first")
    add("--train_num", type=int, metavar="N", help="number of architectures to train on, instead of --train_ratio")
    add("--protocol", choices=("honest", "demo"), default="honest",
        help="honest: train and choose on validation, report test accuracy; demo: test throughout")  # fmt: skip
    add("--label", metavar="COLUMN", help="column to train on and choose by, instead of the protocol's")
    add("--report", metavar="COLUMN", help="column to report, instead of the protocol's")

    add = parser.add_argument_group("method").add_argument
    add("--features", default=",".join(FEATURES), metavar="PARTS", help="parts of the feature tensor, comma-separated")
    add("--loss", choices=LOSSES, default="logistic", help="pairwise ranking loss (three forms of phi) or regression")
    add("--continuity", type=not_negative, default=0.0, metavar="LAMBDA", help="weight of the continuity term")
    add("--search", choices=("topk", "ea"), default="topk", help="score the whole list, or evolve without a list")
    add("--ea_population", type=at_least_two, default=100, help="evolution: population size")
    add("--ea_tournament", type=whole, default=10, help="evolution: tournament size")
    add("--ea_budget", type=at_least_two, default=10_000, help="evolution: architectures the predictor may score")

    add = parser.add_argument_group("run").add_argument
    add("--seed", type=not_below_zero, default=0, help="first seed")
    add("--seeds", type=whole, default=1, help="number of seeds, counted up from --seed")
    add("--device", choices=DEVICES, default="auto", help="where to compute")
    add("--out", type=Path, metavar="FOLDER", help="run folder; default: runs/renas/<name made from the settings>")
    return parser


def main(argv: list[str] | None = None) -> None:
    """Parses, runs the missing seeds, writes the run folder and prints the report. Raises InputError on bad input."""
    args = make_parser().parse_args(argv)
    parts = _parts(args.features)

    import torch

    from common.benchmarks import load_benchmark
    from common.devices import device_title, pick_device
    from common.runs import RunFolder, environment
    from renas.experiment import run_seed
    from renas.report import summarize, terminal_report, write_plots

    device = pick_device(args.device)
    table = load_benchmark(args.data_path, kind=args.benchmark, dataset=args.dataset)
    experiment = _make_experiment(args, parts, table)
    config = _config(args, experiment)
    where = {"data_path": table.source.path, "data": table.source.title}  # as it is called now: may change
    folder = RunFolder.open(args.out or Path("runs/renas") / _name(config), where | config, free=list(where))

    wanted = range(args.seed, args.seed + args.seeds)
    done = {record["seed"]: record for record in folder.records()}
    missing = [seed for seed in wanted if seed not in done]
    if len(missing) < len(wanted):
        print(f"{folder.path}: {len(wanted) - len(missing)} of {len(wanted)} seeds are already there")
    for seed in missing:
        with _Progress(seed, experiment, wanted) as progress:
            result = run_seed(experiment, seed, device, on_step=progress)
        _save_scores(_scores_file(folder, seed), result.scores)  # before the record: a recorded seed is complete
        result.record["device"] = device_title(device)
        folder.append(result.record)
    # As read back, so that the report of a resumed run is made from exactly what the files hold.
    by_seed = {record["seed"]: record for record in folder.records()}
    records = [by_seed[seed] for seed in wanted]
    env = environment(device_title(device)) | {"torch_threads": torch.get_num_threads()}
    summary = summarize(experiment, records, env)
    folder.write_summary(summary)
    write_plots(
        experiment, records, _load_scores(_scores_file(folder, records[0]["seed"]), len(experiment.table)), folder.path
    )
    print(terminal_report(experiment, summary, folder.path))


def _make_experiment(args: argparse.Namespace, parts: tuple[str, ...], table: Any) -> Experiment:
    import numpy as np

    from renas.experiment import Experiment, check_experiment, train_count
    from renas.predictor import LeNetSettings
    from renas.protocol import choose_columns
    from renas.search import EvolutionSettings

    if args.total_num is not None:
        table = table.head(args.total_num)
    if args.search == "ea" and table.space is None:
        raise InputError(f"{table.source.path}: --search ea needs architectures to mutate, this holds tensors only")
    columns = choose_columns(table, args.dataset or _first_dataset(table), args.protocol, args.label, args.report)
    labelled = int(np.sum(~np.isnan(columns.label.values)))
    train = LeNetSettings(args.lr, args.weight_decay, args.num_epochs, args.batch_size, args.loss, args.continuity)
    experiment = Experiment(
        table=table,
        columns=columns,
        protocol=args.protocol,
        parts=parts,
        n_train=train_count(len(table), labelled, args.train_num, args.train_ratio),
        count=args.count,
        train=train,
        search=args.search,
        evolution=EvolutionSettings(args.ea_population, args.ea_tournament, args.ea_budget),
    )
    check_experiment(experiment)
    return experiment


def _first_dataset(table: Any) -> str:
    if not table.datasets:
        raise InputError(f"{table.source.path}: no accuracy column")
    return str(table.datasets[0])


def _config(args: argparse.Namespace, experiment: Experiment) -> dict[str, Any]:
    """The resolved settings that decide the result of a seed; seeds, device and folder are not among them."""
    table, columns = experiment.table, experiment.columns
    source = asdict(table.source)
    if source["sha256"]:  # the same content under another name is the same
        del source["path"], source["title"]
    return {
        "method": "ReNAS",
        "space": table.space.name if table.space else "tensors",
        "source": source,
        "dataset": columns.report.dataset,
        "protocol": experiment.protocol,
        "label": columns.label.name,
        "report": columns.report.name,
        "n_total": len(table),
        "n_train": experiment.n_train,
        "count": experiment.count,
        "features": list(experiment.parts),
        "train": asdict(experiment.train),
        "search": experiment.search,
        **({"evolution": asdict(experiment.evolution)} if experiment.search == "ea" else {}),
    }


def _name(config: dict[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:8]
    return "_".join((config["space"], config["dataset"], config["protocol"], f"n{config['n_train']}", digest))


def _parts(text: str) -> tuple[str, ...]:
    asked = [part.strip() for part in text.split(",")]
    unknown = [part for part in asked if part not in FEATURES]
    if unknown:
        raise InputError(f"--features {text}: unknown part {unknown[0]!r}; choose from {', '.join(FEATURES)}")
    return tuple(part for part in FEATURES if part in asked)


def _scores_file(folder: Any, seed: int) -> Path:
    return Path(folder.path) / "scores" / f"seed_{seed}.npy"


def _save_scores(path: Path, scores: Any) -> None:
    import numpy as np

    from common.runs import write_atomic

    write_atomic(path, lambda file: np.save(file, scores, allow_pickle=False))


def _load_scores(path: Path, count: int) -> Any:
    import numpy as np

    if not path.exists():
        raise InputError(f"{path} is gone, but its seed is recorded: remove the run folder and run again")
    try:
        scores = np.load(path, allow_pickle=False)
    except (ValueError, EOFError):
        scores = np.empty(0)
    if scores.shape != (count,):
        raise InputError(f"{path} does not hold {count:,} scores: remove the run folder and run again")
    return scores


class _Progress:
    """One tqdm bar a seed over training epochs, scored architectures and predictor calls, each a share of its stage."""

    def __init__(self, seed: int, experiment: Experiment, seeds: range) -> None:
        self.totals = {"train": experiment.train.num_epochs, "score": len(experiment.table)}
        if experiment.search == "ea":
            self.totals["search"] = experiment.evolution.budget
        self.title = f"seed {seed} ({seeds.index(seed) + 1}/{len(seeds)})"

    def __enter__(self) -> _Progress:
        from tqdm import tqdm

        self.bar = tqdm(total=100 * len(self.totals), desc=self.title, bar_format="{desc} |{bar}| {elapsed} {postfix}")
        self.done = dict.fromkeys(self.totals, 0)
        return self

    def __call__(self, stage: str, count: int, value: float) -> None:
        self.done[stage] += count
        self.bar.n = sum(100 * self.done[s] / self.totals[s] for s in self.totals)
        tau = f", train tau {value:.3f}" if not math.isnan(value) else ""
        self.bar.set_postfix_str(f"{stage} {self.done[stage]:,}/{self.totals[stage]:,}{tau}", refresh=False)
        self.bar.update(0)

    def __exit__(self, *_: object) -> None:
        self.bar.close()


def positive(text: str) -> float:
    return _checked(float(text), text, float(text) > 0, "a number above 0")


def not_negative(text: str) -> float:
    return _checked(float(text), text, float(text) >= 0, "a number of at least 0")


def not_below_zero(text: str) -> int:
    return _checked(int(text), text, int(text) >= 0, "a whole number of at least 0")


def whole(text: str) -> int:
    return _checked(int(text), text, int(text) >= 1, "a whole number of at least 1")


def at_least_two(text: str) -> int:
    return _checked(int(text), text, int(text) >= 2, "a whole number of at least 2")


def _checked(value: Any, text: str, good: bool, wanted: str) -> Any:
    if not good or value == math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not {wanted}")
    return value
