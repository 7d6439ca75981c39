"""The command line of ReNAS: the published demo's flags, names and defaults, and what the toolkit adds to them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

from common.budget import Budget
from common.cli import OneLineParser, whole_number
from common.devices import DEVICES
from common.errors import InputError
from common.runs.config import LARGEST, LAST_SEED, describe, pairs, read_setting
from renas.losses import LOSSES
from renas.settings import COUNT, EVOLVED, PROTOCOLS, TOPK, EvolvedSettings, LeNetSettings

PROG = "python -m renas"
LENET = "lenet"  # whose settings are the demo's flags
LENET_FLAGS = tuple(made.name for made in fields(LeNetSettings))
BUDGET_FLAGS = tuple(made.name for made in fields(Budget))
EVOLVED_FLAGS = tuple(f"ea_{made.name}" for made in fields(EvolvedSettings))


def make_parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        PROG,
        "Train ReNAS's predictor on a small sample of a benchmark, search with it, and report what it found. "
        "Without --data_path it runs on the trained NAS-Bench-201 table that pip installs (AnalogNAS-Bench).",
    )
    demo = {made.name: made for made in fields(LeNetSettings)}
    group = parser.add_argument_group("the published demo's flags")
    add = group.add_argument
    add("--data_path", metavar="PATH", help="demo tensor folder, NAS-Bench-101 .tfrecord, NAS-Bench-201 .pth, "
        "NATS-Bench folder, NAS-Bench-Macro JSON, CSV arch,metric,...; the content says which kind it is")  # fmt: skip
    add("--train_ratio", type=float, metavar="R", help="share of the architectures to train on; without it and "
        "--train_num: 0.001, but 424 architectures on benchmarks smaller than NAS-Bench-101")  # fmt: skip
    add("--total_num", type=int, metavar="N", help="use the first N architectures of the benchmark only")
    for name in ("lr", "weight_decay", "num_epochs", "batch_size"):
        _add_setting(group, name, demo[name])
    add("--count", type=whole, default=COUNT, help="best-scored architectures whose accuracy is then looked up")

    add = parser.add_argument_group("data and protocol").add_argument
    add("--benchmark", metavar="KIND", help="kind of --data_path, if its content should not decide")
    add("--dataset", help="cifar10, cifar100 or imagenet16_120; default: the benchmark's first")
    add("--space", metavar="SPACE", help="search space of a CSV, if its architectures should not decide: a name, or "
        "your own as my_module:MySpace")  # fmt: skip
    add("--train_num", type=int, metavar="N", help="number of architectures to train on, instead of --train_ratio")
    add("--protocol", choices=PROTOCOLS, default=PROTOCOLS[0],
        help="honest: train and choose on validation, report test accuracy; demo: test throughout")  # fmt: skip
    add("--label", metavar="COLUMN", help="column to train on and choose by (higher is better), instead of the "
        "protocol's")  # fmt: skip
    add("--report", metavar="COLUMN", help="column to report, instead of the protocol's")

    group = parser.add_argument_group("method")
    add = group.add_argument
    add("--predictor", metavar="NAME", help=f"{LENET} (ReNAS, the default), boosting, ..., or your own as "
        "my_module:MyClass; its settings follow as PREDICTOR.KEY VALUE")  # fmt: skip
    add("--encoding", metavar="NAMES", help="what the predictor sees of an architecture, joined by +: tensor, one_hot, "
        "costs, ...; default: the predictor's own")  # fmt: skip
    add("--features", metavar="PARTS", help="parts of the feature tensor, comma-separated (default: all: "
        "type,flops,params)")  # fmt: skip
    add("--loss", choices=LOSSES, default=demo["loss"].default, help=demo["loss"].metadata["help"])
    _add_setting(group, "continuity", demo["continuity"], metavar="LAMBDA")
    add("--search", default=TOPK, metavar="NAME", help=f"{TOPK}: score the whole list; {EVOLVED}: evolve on scores, "
        "without a list; or spend the whole budget on true evaluations: random, evolution, local, reinforce, ..., or "
        "your own as my_module:MyClass, whose settings follow as STRATEGY.KEY VALUE")  # fmt: skip
    add("--budget", type=whole, metavar="Q", help="architectures evaluated in all (default: those that the predictor "
        "is trained on and --count more)")  # fmt: skip
    add("--budget_seconds", type=float, metavar="T", help="seconds of training that a strategy may spend, by the "
        "table's training times")  # fmt: skip
    add("--seconds", metavar="COLUMN", help="the column of training times, if the table has none or several")
    for made in fields(EvolvedSettings):
        _add_setting(group, f"ea_{made.name}", made, help=f"{EVOLVED}: {made.metadata['help']}")

    add_budget(parser)
    add = parser.add_argument_group("run").add_argument
    add("--seed", type=not_below_zero, default=0, help="first seed")
    add("--seeds", type=whole, default=1, help="number of seeds, counted up from --seed")
    add("--jobs", type=whole, default=1, help="seeds at a time, in processes that share the cores")
    add("--executor", default="processes", metavar="NAME", help="where seeds run: processes, ray, or your own")
    add("--ray_address", default="", metavar="X", help="--executor ray: auto (this machine's cluster) or host:port; "
        "without it, one is started here")  # fmt: skip
    add("--device", choices=DEVICES, default=DEVICES[0], help="where to compute")
    add("--tracker", default="", metavar="NAME", help="shows curves: tensorboard, mlflow, my_module:MyTracker")
    add("--out", type=Path, metavar="FOLDER", help="run folder; default: runs/renas/<name made from the settings>")
    add("--describe", action="store_true", help="show the settings of --predictor and --search, and exit")
    parser.add_argument("settings", nargs="*", metavar="NAME.KEY VALUE",
        help="settings of the predictor (PREDICTOR.KEY, or by its name, as boosting.max_iter 100) and of the strategy "
        "(STRATEGY.KEY, or by its name)")  # fmt: skip
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    """Parses, runs the missing seeds, writes the run folder and prints the report. Raises InputError on bad input."""
    import sys

    argv = sys.argv[1:] if argv is None else list(argv)
    args = make_parser().parse_intermixed_args(argv)
    given = {word[2:].partition("=")[0] for word in argv if word.startswith("--")}
    if args.describe:
        print(_described(args))
        return
    options = _options(args, given)

    from renas.api import run

    print(run(**options, tell=print))


def _options(args: argparse.Namespace, given: set[str]) -> dict[str, Any]:
    """The arguments of `renas.run`. Raises InputError for flags that mean nothing beside the others."""
    own = args.search in (TOPK, EVOLVED)
    if not own:
        _strategy_class(args.search)  # must exist
    predictor = args.predictor or (LENET if own else None)
    settings, search_settings = _split_settings(args.settings, predictor, args.search)
    lenet_given = [flag for flag in LENET_FLAGS if flag in given]
    if predictor != LENET:
        for flag in (*lenet_given, *(["features"] if "features" in given else [])):
            what = f"--predictor {predictor}" if predictor else f"--search {args.search}"
            raise InputError(f"--{flag} is a setting of {LENET}, which {what} does not use")
    else:
        for name in lenet_given:
            if name in settings:
                raise InputError(f"--{name} and {LENET}.{name} mean the same: keep one of them")
            settings[name] = getattr(args, name)
    if args.search != EVOLVED:
        for flag in EVOLVED_FLAGS:
            if flag in given:
                raise InputError(f"--{flag} is a setting of --search {EVOLVED}, not of {args.search}")
    else:
        search_settings |= {flag[len("ea_") :]: getattr(args, flag) for flag in EVOLVED_FLAGS if flag in given}
    encoding = args.encoding
    if "features" in given:
        if encoding is not None:
            raise InputError("--features are the parts of the encoding tensor: give them or --encoding")
        encoding = _tensor_parts(args.features)
    passed = ["benchmark", "dataset", "space", "total_num", "train_ratio", "train_num", "count", "budget", "protocol"]
    passed += ["budget_seconds", "seconds"]
    passed += ["label", "report", "search", "seed", "seeds", "jobs", "executor", "ray_address"]
    passed += ["device", "tracker", "out", *BUDGET_FLAGS]
    return {
        "data": args.data_path,
        **{name: getattr(args, name) for name in passed},
        "predictor": predictor,
        "encoding": encoding,
        "settings": settings,
        "search_settings": search_settings,
    }


def _tensor_parts(features: str) -> str:
    from common.encoding import FeatureTensor

    try:
        return FeatureTensor(features).describe()
    except InputError as error:
        raise InputError(f"--features {features}: {error}") from None


def _split_settings(words: Sequence[str], predictor: str | None, search: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Trailing NAME.KEY VALUE words as settings of the predictor and of the search, by whose name that is."""
    settings: dict[str, Any] = {}
    search_settings: dict[str, Any] = {}
    if not words:
        return settings, search_settings
    owners = {"strategy": search_settings, search: search_settings}
    if search not in (TOPK, EVOLVED):
        owners[_strategy_class(search).name] = search_settings
    if predictor is not None:
        owners |= {"predictor": settings, predictor: settings, _predictor_class(predictor).name: settings}
    owners = {name.lower(): taken for name, taken in owners.items()}
    for name, value in pairs(words):
        owner, _, key = name.lower().rpartition(".")
        if owner not in owners or not key:
            known = " or ".join(f"{owner.upper()}.KEY" for owner in owners)
            raise InputError(f"{name} {value}: the settings that can follow here are {known}")
        if key in owners[owner]:
            raise InputError(f"{name} is given twice")
        owners[owner][key] = value
    return settings, search_settings


def _described(args: argparse.Namespace) -> str:
    parts = []
    if args.predictor or args.search in (TOPK, EVOLVED):  # other searches use one of their own
        predictor = _predictor_class(args.predictor or LENET)
        parts.append((f"predictor {predictor.name}, encoding {predictor.encoding}", predictor.name, predictor.Settings))
    if args.search == EVOLVED:
        parts.append((f"search {EVOLVED}", EVOLVED, EvolvedSettings))
    elif args.search != TOPK:
        strategy = _strategy_class(args.search)
        parts.append((f"search {strategy.name}", strategy.name, strategy.Settings))
    made = []
    for title, name, settings in parts:
        lines = describe(settings).replace("\n  ", f"\n  {name}.")
        made.append(f"{title}:\n" + (f"  {name}.{lines[2:]}" if lines else "  no settings"))
    return "\n\n".join(made)


def _predictor_class(name: str) -> Any:
    from common.predictors.ranker import predictor_class

    return predictor_class(name)


def _strategy_class(name: str) -> Any:
    from common.search import STRATEGIES

    return STRATEGIES.load(name)


# values of flags ----------------------------------------------------------------------------------------------------


def add_budget(parser: argparse.ArgumentParser) -> None:
    """The flags of what an architecture may cost, by the fields of `Budget`."""
    group = parser.add_argument_group("budget of an architecture")
    for made in fields(Budget):
        _add_setting(group, made.name, made, default=None, metavar="TABLE" if made.name == "latency" else "MOST")


def _add_setting(group: Any, flag: str, made: Field[Any], **options: Any) -> None:
    """A flag for a field of a settings dataclass, with its default, help and check."""
    given = {"default": made.default, "help": made.metadata["help"], **options}
    group.add_argument(f"--{flag}", type=_reader(made), **given)


def _reader(made: Field[Any]) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        try:
            return read_setting(made, text, "")
        except InputError as error:
            raise argparse.ArgumentTypeError(f"{text!r}: {str(error).partition(', ')[2]}") from None

    return read


not_below_zero, whole = whole_number(0, LAST_SEED), whole_number(1, LARGEST)
