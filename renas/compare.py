"""python -m renas.compare: several searches on one table at equal budgets, in one table and one plot."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from functools import cached_property, partial
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.cli import OneLineParser, run_command
from common.errors import InputError
from renas.settings import COUNT, EVOLVED, MOST_SEEDS, PROTOCOLS, TOPK, EvolvedSettings

if TYPE_CHECKING:
    from common.benchmarks.csv_table import Frame
    from common.benchmarks.table import BenchmarkTable
    from common.execution import Executor
    from common.spaces import SearchSpace
    from renas.experiment import Experiment

PROG = "python -m renas.compare"
RENAS, LENET = "renas", "lenet"  # the method as published, and its predictor
STRATEGIES = ("random", "evolution", "local", "reinforce", "active", RENAS)  # that are compared by default
FREE = ("data_path", "data", "members")  # what another start of the same comparison may change


@dataclass(frozen=True)
class Member:
    """One search of a comparison. name: in tables and plots."""

    name: str
    experiment: Experiment

    @cached_property
    def settings(self) -> dict[str, Any]:
        """All that decides its results beside what the comparison says."""
        experiment, choice = self.experiment, self.experiment.predictor
        found: dict[str, Any] = {"search": experiment.search, "budget": experiment.budget}
        if choice is not None:
            found["predictor"] = {
                "name": choice.name, "encoding": choice.encoding, "settings": _plain(choice.settings)
            }  # fmt: skip
        if experiment.predicts:
            found["count"] = experiment.count
        if experiment.search == EVOLVED:
            found["settings"] = asdict(experiment.evolved)
        elif experiment.strategy_settings is not None:
            found["settings"] = _plain(experiment.strategy_settings)
        return found

    @cached_property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Comparison:
    """A finished comparison, as it stands in its folder. `print(comparison)` shows the report.

    summary: see `renas.compare_report.summarize`. records: one a search, see the folder's `evaluations.jsonl`.
    """

    members: Sequence[Member]
    records: list[dict[str, Any]]
    summary: dict[str, Any]
    folder: Path

    def __str__(self) -> str:
        from renas.compare_report import terminal_report

        return terminal_report(self.summary, self.folder)

    def rows(self, member: str, seed: int) -> list[int]:
        """Rows of the table in the order in which a search has evaluated them. Raises KeyError for no such search."""
        found = [r["rows"] for r in self.records if r["member"] == member and r["seed"] == seed]
        if not found:
            raise KeyError(f"no search {member!r} with seed {seed}")
        return list(found[0])


def run(
    data: str | Path | Frame | BenchmarkTable | None = None,
    *,
    benchmark: str | None = None,
    dataset: str | None = None,
    space: SearchSpace | type[SearchSpace] | str | None = None,
    total_num: int | None = None,
    strategies: Sequence[str] = STRATEGIES,
    predictors: Sequence[str] = (),
    encoding: str | None = None,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    budget: int = 150,
    count: int = COUNT,
    protocol: str = PROTOCOLS[0],
    label: str | None = None,
    report: str | None = None,
    max_params: str | float | None = None,
    max_flops: str | float | None = None,
    max_latency: str | float | None = None,
    latency: str | Path | None = None,
    seed: int = 0,
    seeds: int = 20,
    jobs: int = 0,
    executor: str = "processes",
    ray_address: str = "",
    device: str = "cpu",
    out: str | Path | None = None,
    tell: Callable[[str], object] = lambda said: None,
) -> Comparison:
    """Runs every search with every seed, in parallel; those that the folder holds are not run again.

    Args:
        data, benchmark, dataset, space, total_num, protocol, label, report, max_params, max_flops, max_latency,
            latency: as of `renas.run`.
        strategies: names of `common.search`, import paths of one's own (`my_module:MyClass`), "renas" (the method as
            published), "topk" (the same with another predictor) or "ea" (evolution on predicted scores).
        predictors: of those strategies that take one, each with each; none: the strategy's default. encoding: theirs.
        settings: by name of a strategy or predictor, what `make_settings` takes.
        budget: evaluations of every search. count: of "renas", "topk" and "ea", those at the end that the predictor
            proposes.
        seed, seeds: the first seed, and how many, counted up. jobs: searches at a time; 0: as many as there are cores.
        executor, ray_address: as of `renas.run`.
        out: the folder; by default runs/compare/<name made from the settings>.
    Raises: InputError for bad input, before anything is run or written.
    """
    from common.benchmarks import load_benchmark
    from common.budget import Budget
    from renas.protocol import choose_columns

    for name, value in (("seeds", seeds), ("budget", budget), ("count", count)):
        if value < 1:
            raise InputError(f"{name} is {value}, expected at least 1")
    table = load_benchmark(data, kind=benchmark, dataset=dataset, space=space)
    if total_num is not None:
        table = table.head(total_num)
    limits = Budget.of(max_params=max_params, max_flops=max_flops, max_latency=max_latency, latency=latency)
    table = limits.within(table)
    columns = choose_columns(table, dataset, protocol, label, report)
    shared = {"table": table, "columns": columns, "protocol": protocol, "limits": limits}
    members = make_members(shared, strategies, predictors, encoding, settings or {}, budget, count)
    return run_members(members, range(seed, seed + seeds), jobs, device, out, tell, executor, ray_address)


def run_members(
    members: Sequence[Member],
    seeds: range,
    jobs: int = 0,
    device: str = "cpu",
    out: str | Path | None = None,
    tell: Callable[[str], object] = lambda said: None,
    executor: str = "processes",
    ray_address: str = "",
) -> Comparison:
    """Runs searches of one table and budget with every seed; arguments as of `run`.

    Raises: InputError for a folder that holds another comparison, and for members of one name.
    """
    from common.execution import EXECUTORS, Resources
    from common.runs import RunFolder, environment
    from renas.compare_plot import write_plot
    from renas.compare_report import check_record, summarize

    names = [member.name for member in members]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{name} is compared with itself: name every strategy and predictor once")
    if len(seeds) > MOST_SEEDS:
        raise InputError(f"seeds is {len(seeds)}, expected at most {MOST_SEEDS:,}")
    table = members[0].experiment.table
    config = _config(members)
    where = {"data_path": table.source.path, "data": table.source.title}
    path = Path(out) if out is not None else Path("runs/compare") / _name(config)
    config["members"] = {member.name: member.settings for member in members}
    wanted = [(member, seed) for member in members for seed in seeds]
    with RunFolder.open(path, where | config, free=FREE) as folder:
        check = partial(check_record, len(table))
        there = {_identity(record) for record in folder.records(check)}
        missing = [(member, seed) for member, seed in wanted if (member.name, member.digest, seed) not in there]
        if len(missing) < len(wanted):
            tell(f"{path}: {len(wanted) - len(missing)} of {len(wanted)} searches are already there")
        with EXECUTORS.load(executor).of(Resources(jobs, ray_address)) as where_run:
            for record in _searches(missing, where_run, device):
                folder.append(record)
        by_identity = {_identity(record): record for record in folder.records(check)}
        records = [by_identity[member.name, member.digest, seed] for member, seed in wanted]
        summary = summarize(members, records) | {"environment": environment(device)}
        folder.write_summary(summary)
        write_plot(summary, path)
    return Comparison(members, records, summary, path)


# members -----------------------------------------------------------------------------------------------------------


def make_members(
    shared: Mapping[str, Any],
    strategies: Sequence[str],
    predictors: Sequence[str],
    encoding: str | None,
    settings: Mapping[str, Mapping[str, Any]],
    budget: int,
    count: int,
) -> list[Member]:
    """One member a strategy, or one a predictor where a strategy takes any.

    Args: shared: table, columns and protocol of all experiments. The others as of `run`.
    Raises: InputError for what cannot be run, and for settings or predictors that nobody takes.
    """
    if encoding is not None and not predictors:
        raise InputError(f"--encoding {encoding}: name the --predictors that are to see it")
    settings = {name.lower(): values for name, values in settings.items()}
    used: set[str] = set()

    def of(name: str) -> Mapping[str, Any]:
        used.add(_short(name).lower())
        return settings.get(_short(name).lower(), {})

    members: list[Member] = []
    for strategy in strategies:
        takes = strategy in (TOPK, EVOLVED) or (
            strategy != RENAS and "predictor" in signature(_load(strategy)).parameters
        )
        for predictor in predictors if takes and predictors else [None]:
            members.append(_make_member(shared, strategy, predictor, encoding if takes else None, of, budget, count))
    for name in (*predictors, *settings):
        if _short(name).lower() not in used:
            raise InputError(f"{name}: no strategy among {', '.join(strategies)} makes use of it")
    return members


def _make_member(
    shared: Mapping[str, Any],
    strategy: str,
    predictor: str | None,
    encoding: str | None,
    of: Callable[[str], Mapping[str, Any]],
    budget: int,
    count: int,
) -> Member:
    from common.runs.config import make_settings
    from renas.experiment import Experiment, PredictorChoice, check_experiment

    own = strategy in (RENAS, TOPK, EVOLVED)
    choice, evolved, strategy_settings = None, EvolvedSettings(), None
    if own or predictor:
        chosen = predictor or LENET
        choice = PredictorChoice.of(chosen, encoding, of(chosen))
    if strategy == EVOLVED:
        evolved = make_settings(EvolvedSettings, of(strategy), f"search {strategy}")
    elif not own and (settings_class := getattr(_load(strategy), "Settings", None)):
        strategy_settings = make_settings(settings_class, of(strategy), f"search {strategy}")
    if own and budget - count < 2:
        raise InputError(f"{strategy} with {budget} evaluations of which the last {count} are proposed has fewer than "
            "2 to train on: raise the budget or lower the count")  # fmt: skip
    experiment = Experiment(
        **shared,
        predictor=choice,
        search=TOPK if strategy == RENAS else strategy,
        n_train=budget - count,
        count=count,
        evolved=evolved,
        strategy_settings=strategy_settings,
    )
    check_experiment(experiment)
    return Member(" ".join(filter(None, [_short(strategy), predictor and _short(predictor)])), experiment)


def _load(strategy: str) -> Any:
    from common.search import STRATEGIES as KNOWN

    return KNOWN.load(strategy)


def _short(name: str) -> str:
    """The class alone of an import path."""
    return name.rpartition(":")[2]


# running -----------------------------------------------------------------------------------------------------------


def _searches(missing: Sequence[tuple[Member, int]], executor: Executor, device: str) -> Iterator[dict[str, Any]]:
    """Records of finished searches, in the order in which they finish."""
    from common.progress import ProgressBar

    members = {member.name: member for member, _ in missing}
    items = [(member.name, seed) for member, seed in missing]
    with ProgressBar(len(missing), "searches", "search") as progress:
        if missing:
            progress.show(0)  # the first to finish may take minutes
        for done, (_, record) in enumerate(executor.map(_run_named, (members, device), items), start=1):
            yield record
            progress.show(done, record["member"])


def _run_named(shared: tuple[dict[str, Member], str], item: tuple[str, int]) -> dict[str, Any]:
    members, device = shared
    return run_one(members[item[0]], item[1], device)


def run_one(member: Member, seed: int, device: str) -> dict[str, Any]:
    """One search: its record, with the rows of the table in the order in which they were evaluated."""
    import time

    from renas.experiment import run_seed

    started = time.perf_counter()
    result = run_seed(member.experiment, seed, device).record
    rows = [int(row) for row in result["evaluated"]]
    columns = member.experiment.columns
    return {
        "member": member.name,
        "digest": member.digest,
        "seed": seed,
        "rows": rows,
        "label": columns.label.values[rows].tolist(),
        "report": columns.report.values[rows].tolist(),
        "ended": result.get("ended", ""),
        "seconds": time.perf_counter() - started,
    }


# identity ----------------------------------------------------------------------------------------------------------


def _identity(record: Mapping[str, Any]) -> tuple[str, str, int]:
    return record["member"], record["digest"], record["seed"]


def _config(members: Sequence[Member]) -> dict[str, Any]:
    """What all searches share; their own settings are told by their records."""
    experiment = members[0].experiment
    source = asdict(experiment.table.source)
    if source["sha256"]:  # the same content under another name is the same
        del source["path"], source["title"]
    return {
        "method": "comparison",
        "space": experiment.table.space.name if experiment.table.space else "tensors",
        "source": source,
        "dataset": experiment.columns.report.dataset,
        "protocol": experiment.protocol,
        "label": experiment.columns.label.name,
        "report": experiment.columns.report.name,
        "n_total": len(experiment.table),
        "budget": experiment.budget,
        **({"limits": experiment.limits.given} if experiment.limits.given else {}),
    }


def _name(config: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:8]
    return "_".join((config["space"], config["dataset"] or config["report"], f"q{config['budget']}", digest))


def _plain(settings: Any) -> dict[str, Any]:
    return asdict(settings) if is_dataclass(settings) and not isinstance(settings, type) else {}


# command line ------------------------------------------------------------------------------------------------------


def make_parser() -> OneLineParser:
    from renas.cli import add_budget, not_below_zero, whole

    parser = OneLineParser(
        PROG,
        "Run several searches on one benchmark at the same budget and report, for each, what the best architecture by "
        "the label is after every number of evaluations. Started again, it runs what is missing. A first look takes "
        "seconds: --strategies random,evolution,local,active --seeds 5 --budget 60",
    )
    add = parser.add_argument_group("data and protocol").add_argument
    add("--data_path", metavar="PATH", help="as of python -m renas; default: the table that pip installs")
    add("--benchmark", metavar="KIND", help="kind of --data_path, if its content should not decide")
    add("--dataset", help="cifar10, cifar100 or imagenet16_120; default: the benchmark's first")
    add("--space", metavar="SPACE", help="search space of a CSV, if its architectures should not decide")
    add("--total_num", type=whole, metavar="N", help="use the first N architectures of the benchmark only")
    add("--protocol", choices=PROTOCOLS, default=PROTOCOLS[0], help="honest: search on validation, report test "
        "accuracy; demo: test throughout")  # fmt: skip
    add("--label", metavar="COLUMN", help="column to search on, instead of the protocol's")
    add("--report", metavar="COLUMN", help="column to report, instead of the protocol's")

    add_budget(parser)
    add = parser.add_argument_group("searches").add_argument
    add("--strategies", default=",".join(STRATEGIES), metavar="NAMES", help="comma-separated; strategies, your own as "
        "my_module:MyClass, renas (as published), topk and ea (with any predictor)")  # fmt: skip
    add("--predictors", default="", metavar="NAMES", help="comma-separated, for strategies that take one; default: "
        "each strategy's own")  # fmt: skip
    add("--encoding", metavar="NAMES", help="of --predictors; default: each predictor's own")
    add("--budget", type=whole, default=150, metavar="Q", help="evaluations of every search")
    add("--count", type=whole, default=COUNT, help="the last of these, that renas, topk and ea choose")

    add = parser.add_argument_group("run").add_argument
    add("--seed", type=not_below_zero, default=0, help="first seed")
    add("--seeds", type=whole, default=20, help="number of seeds, counted up from --seed")
    add("--jobs", type=not_below_zero, default=0, help="searches at a time, in processes that share the cores; 0: as "
        "many as there are cores")  # fmt: skip
    add("--executor", default="processes", metavar="NAME", help="where searches run: processes, ray, or your own")
    add("--ray_address", default="", metavar="X", help="as of python -m renas")
    add("--device", default="cpu", choices=("auto", "cpu", "cuda"), help="where predictors that use torch compute")
    add("--out", type=Path, metavar="FOLDER", help="folder; default: runs/compare/<name made from the settings>")
    parser.add_argument("settings", nargs="*", metavar="NAME.KEY VALUE", help="settings of a strategy or predictor by "
        "its name, as active.batch 5")  # fmt: skip
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Parses, runs the missing searches, writes the folder and prints the report. Raises InputError on bad input."""
    args = vars(make_parser().parse_intermixed_args(argv))
    for name in ("strategies", "predictors"):
        args[name] = [word.strip() for word in args[name].split(",") if word.strip()]
    if not args["strategies"]:
        raise InputError("--strategies names none")
    args["settings"] = _split_settings(args["settings"])
    print(run(args.pop("data_path"), **args, tell=print))


def _split_settings(words: Sequence[str]) -> dict[str, dict[str, Any]]:
    from common.runs.config import pairs

    found: dict[str, dict[str, Any]] = {}
    for name, value in pairs(words):
        owner, _, key = name.lower().rpartition(".")
        if not owner:
            raise InputError(f"{name} {value}: settings come as NAME.KEY VALUE, as active.batch 5")
        if key in found.setdefault(owner, {}):
            raise InputError(f"{name} is given twice")
        found[owner][key] = value
    return found


if __name__ == "__main__":
    run_command(PROG, main)
