"""How well the RMI loss ranks random networks, update by update, and what cheaper settings would have chosen.

Read from recorded losses: of the published searches, and of random networks that are trained here for nothing else.
Fewer updates, less depth, racing, and the size of a network beside its loss.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from records import Kept, head, read, row, spread
from tables_renas import Lines
from tables_rminas import PUBLISHED_SEARCH, RmiRun

from common.errors import InputError

if TYPE_CHECKING:
    from common.search import History
    from common.spaces import SearchSpace
    from rminas.accuracy import AccuracyTable

# Searches that end with their random networks, all trained to the last update.
_RANDOM = {"RMINAS__RF_SUCC": 0, "RMINAS__VOTE": "model"}
SHALLOW = replace(
    PUBLISHED_SEARCH,
    name="rminas/nb201_shallow_random",
    settings={"SPACE__CELLS_PER_STAGE": 1, "RMINAS__OBSERVE": 60, **_RANDOM},
)
DIGITS = RmiRun("rminas/nb201_digits_random", "nb201_digits", {}, {"RMINAS__RF_WARMUP": 100, **_RANDOM}, 5, first=0)
MACRO = RmiRun(
    "rminas/macro_random",
    "macro_cifar10",
    {**PUBLISHED_SEARCH.paths, "BENCHMARK__PATH": "nasbench_macro/nas-bench-macro_cifar10.json"},
    {"TRAIN__BATCH_SIZE": 32, **_RANDOM},
)
SOURCES = {
    "NAS-Bench-201, as published": PUBLISHED_SEARCH,
    "one cell a stage": SHALLOW,
    "one cell a stage, digits": DIGITS,
    "NAS-Bench-Macro": MACRO,
}
FULL = next(iter(SOURCES))

STEPS = (5, 10, 20, 30, 40, 60, 100, 150)
EARLY = 20  # the updates after which all weights are tried, beside the last
SIZE = 0.75  # as in nb201_cifar10_fast
BY = {0.0: "loss", SIZE: f"loss and size ({SIZE})"}  # weights that are tried after every number of updates
ALONE = 1e6  # a weight beside which the loss is nothing
WEIGHTS = (0.0, 0.25, 0.5, SIZE, 1.0, 1.5, ALONE)
RACES = (1.0, 1.5, 2.0, 2.5, 3.0)
DRAWS, RAN = 30, 20  # orders in which networks race, and how many of them do not

# Reading the losses ------------------------------------------------------------------------------------------------


def cut(history: History, step: int) -> History:
    """What a history would be if every network had been trained for `step` updates."""
    from common.search import History

    evaluations = []
    for evaluation in history:
        trajectory = evaluation.outcome.trajectory[: step + 1]
        outcome = replace(evaluation.outcome, value=float(trajectory[-1]), trajectory=trajectory)
        evaluations.append(replace(evaluation, outcome=outcome))
    return History(tuple(evaluations))


def weighed(space: SearchSpace, seed: int, random: History, weight: float, table: AccuracyTable) -> tuple[float, float]:
    """Kendall tau of random networks by loss and size, and the accuracy (%) of what the model of both chooses."""
    from common.evaluators.costs import CostEvaluator
    from common.metrics import kendall_tau
    from rminas.cheap import CheapScore
    from rminas.elections import FinishedSearch, choose_by_model
    from rminas.forest import Judgement

    weighing = CheapScore(CostEvaluator(space, "params"), weight).learn(random)
    logs = np.zeros(len(random)) if weight == ALONE else np.log(-random.values)  # nor is it to break ties
    tau = kendall_tau(-logs - weighing.penalties(random.archs), table.accuracies(random.archs))
    none = np.zeros(len(random), dtype=bool)
    judged = Judgement(weighing.scores(random.values, random.archs), -np.inf, none, weighing)
    return tau, table.accuracy(choose_by_model(FinishedSearch(space, seed, random, judged)))


def voted(
    space: SearchSpace, seed: int, history: History, rules: Mapping[str, Any], table: AccuracyTable
) -> dict[str, float]:
    """Of all that a search has evaluated: tau, how many are positive, and the accuracy (%) of what they vote for.

    rules: the section RMINAS of its config.
    """
    from common.metrics import kendall_tau
    from rminas.cheap import NO_WEIGHING
    from rminas.elections import FinishedSearch, choose_by_sum
    from rminas.forest import Judgement, freeze_threshold

    threshold = freeze_threshold(history.values[: rules["RF_WARMUP"]], rules["RF_THRESRATE"])
    judged = Judgement(history.values, threshold, history.values > threshold, NO_WEIGHING)
    finite = np.nan_to_num(history.values, neginf=np.finfo(np.float64).min)
    found = choose_by_sum(FinishedSearch(space, seed, history, judged, rules["TOP"]))
    return {
        "tau": kendall_tau(finite, table.accuracies(history.archs)),
        "positives": int(judged.positive.sum()),
        "test_acc": table.accuracy(found),
    }


def raced(losses: np.ndarray, z: float, draws: int = DRAWS) -> tuple[float, float]:
    """Mean number of updates, and the share of the best tenth that racing stops, of (n, updates + 1) losses.

    Bounds are learnt from RAN networks and judged on the others, in `draws` random orders.
    """
    from rminas.race import loss_bounds

    steps, full = losses.shape[1] - 1, min(RAN, len(losses) // 2)
    best = losses[:, -1] <= np.quantile(losses[:, -1], 0.1)
    made, lost = [], []
    for draw in range(draws):
        order = np.random.default_rng(draw).permutation(len(losses))
        bounds = loss_bounds([losses[i] for i in order[:full]], z, full, None, 0.05)
        for i in order[full:]:
            stop = next((step for step in sorted(bounds) if losses[i, step] > bounds[step]), steps)
            made.append(stop)
            if best[i]:
                lost.append(stop < steps)
    return float(np.mean(made)), float(np.mean(lost)) if lost else float("nan")


def random_of(history: History) -> History:
    """Its random networks that did not diverge."""
    from common.search import History
    from rminas.forest import FOREST

    return History(tuple(e for e in history if e.phase != FOREST and np.isfinite(e.outcome.trajectory).all()))


def read_seed(space: SearchSpace, seed: int, history: History, table: AccuracyTable) -> dict[str, Any]:
    """What the random networks of one seed say, by updates and by the weight of the size."""
    from common.evaluators.costs import CostEvaluator
    from common.metrics import kendall_tau

    random = random_of(history)
    last = len(random[0].outcome.trajectory) - 1
    accuracy = table.accuracies(random.archs)
    alone = {}
    for name in ("params", "flops"):
        evaluator = CostEvaluator(space, name)
        alone[name] = kendall_tau(np.array([evaluator.evaluate(arch).value for arch in random.archs]), accuracy)
    by_loss = []
    for step in sorted({*(step for step in STEPS if step < last), last}):
        at = cut(random, step)
        for weight in WEIGHTS if step in (EARLY, last) else BY:
            tau, found = weighed(space, seed, at, weight, table)
            by_loss.append({"step": step, "weight": weight, "tau": tau, "test_acc": found})
    return {"seed": seed, "networks": len(random), "tau": alone, "by_loss": by_loss}


@dataclass(frozen=True)
class LossesRead:
    """What all recorded losses say. Nothing in it is drawn from another seed than theirs, so one seed says all."""

    name: str = "rminas/losses_read"
    seeds: int = 1
    first: int = 0

    @property
    def files(self) -> tuple[str, ...]:
        return tuple({run.paths["BENCHMARK__PATH"]: None for run in SOURCES.values() if "BENCHMARK__PATH" in run.paths})

    def make(self, seeds: Sequence[int], data: Path, runs: Path) -> Iterator[tuple[dict[str, Any], Lines]]:
        from common.runs import environment
        from common.spaces import make_space
        from rminas.accuracy import AccuracyTable
        from rminas.config import load_config

        started, found, sha256 = time.perf_counter(), {}, {}
        votes, races = [], []
        for title, run in SOURCES.items():
            kept = read(run.name)
            if len(kept.records) < run.seeds:
                raise InputError(f"{run.name}: {len(kept.records)} of {run.seeds} seeds are there; make them first")
            config = load_config(run.config, **run.settings)
            space = make_space(config.space.name)
            file = run.paths.get("BENCHMARK__PATH")
            dataset = config.benchmark.dataset or config.data.name
            table = AccuracyTable.load(str(data / file) if file else "", dataset, space)
            sha256[title] = table.table.source.sha256
            histories = histories_of(kept, space)
            found[title] = [read_seed(space, seed, history, table) for seed, history in histories.items()]
            if title == FULL:
                for seed, history in histories.items():
                    for step in STEPS:
                        said = voted(space, seed, cut(history, step), kept.config["RMINAS"], table)
                        votes.append({"seed": seed, "step": step, **said})
                    losses = np.stack([-e.outcome.trajectory for e in random_of(history)])
                    for z in RACES:
                        updates, stopped = raced(losses, z)
                        races.append({"seed": seed, "z": z, "updates": updates, "stopped": stopped})
        made = {"random": found, "votes": votes, "races": races}
        made |= {"seconds": round(time.perf_counter() - started, 2), "environment": environment("cpu")}
        for seed in seeds:
            yield {"evaluations": counted(), "sha256": sha256}, [{"seed": seed, **made}]


def counted() -> dict[str, int]:
    """How many evaluations of each source there are, by which a reading that is out of date is known."""
    return {title: len(read(run.name).evaluations) for title, run in SOURCES.items()}


def histories_of(kept: Kept, space: SearchSpace) -> dict[int, History]:
    from common.search import History, read_history

    pasts = {seed: read_history(kept.evaluations, space, seed) for seed in sorted(kept.seeds)}
    return {seed: History(tuple(past[index] for index in sorted(past))) for seed, past in pasts.items()}


READ = LossesRead()

# Pages -------------------------------------------------------------------------------------------------------------


def said() -> dict[str, Any]:
    """The reading; empty while it is not made."""
    kept = read(READ.name)
    return kept.records[0] if kept.records else {"random": {}, "votes": [], "races": []}


def of_step(seeds: Lines, key: str, step: int, weight: float) -> list[float]:
    """A number of every seed, after so many updates, with the size at a weight."""
    lines = [line for seed in seeds for line in seed["by_loss"]]
    return [line[key] for line in lines if (line["step"], line["weight"]) == (step, weight)]


def last_step(seeds: Lines) -> int:
    return int(max(line["step"] for seed in seeds for line in seed["by_loss"]))


def tau_page() -> str:
    """Ranking by updates."""
    lines = head("random networks", "seeds x networks", "by", *(f"{s} updates" for s in STEPS), "parameters", "FLOPs")
    for title, seeds in said()["random"].items():
        size = f"{len(seeds)} x {max(seed['networks'] for seed in seeds)}"
        alone = [spread([seed["tau"][name] for seed in seeds], 3) for name in ("params", "flops")]
        for weight, by in BY.items():
            cells = [spread(of_step(seeds, "tau", step, weight), 3) for step in STEPS]
            lines.append(row(title, size, by, *cells, *alone))
    return "\n".join(
        [
            *lines,
            "",
            "Kendall tau with test accuracies (official ones; digits: those of the installed table), mean ± std over "
            "seeds, which differ in networks, batch and weights. One cell a stage: the same cells as published. "
            "Nothing was published to compare with.",
        ]
    )


def chosen_page() -> str:
    """What a model of the random networks' losses would choose."""
    lines = head("random networks", "by", *(f"{s} updates" for s in STEPS), "the largest network")
    for title, seeds in said()["random"].items():
        largest = spread(of_step(seeds, "test_acc", last_step(seeds), ALONE), 2)
        for weight, by in BY.items():
            cells = [spread(of_step(seeds, "test_acc", step, weight), 2) for step in STEPS]
            lines.append(row(title, by, *cells, largest))
    return "\n".join(
        [
            *lines,
            "",
            "Test accuracy (%) of what a ridge regression of the losses on choices and pairs of choices predicts as "
            "best (`RMINAS.VOTE model`), learnt from the random networks alone, without a forest's search.",
        ]
    )


def weights_page() -> str:
    """The weight of the size beside the loss."""
    columns = [
        (title, seeds, step)
        for title, seeds in said()["random"].items()
        for step in ([EARLY, last_step(seeds)] if title == FULL else [last_step(seeds)])
    ]
    lines = head("weight of the size", *(f"{title}, {step} updates: tau; found, %" for title, _, step in columns))
    for weight in WEIGHTS:
        cells = [
            f"{spread(of_step(seeds, 'tau', step, weight), 3)}; {spread(of_step(seeds, 'test_acc', step, weight), 2)}"
            for _, seeds, step in columns
        ]
        lines.append(row("size alone" if weight == ALONE else f"{weight:g}", *cells))
    return "\n".join(
        [
            *lines,
            "",
            "Not in the paper (`RMINAS.SIZE`): networks ordered by log loss less the weight times log parameters, each "
            f"in standard deviations over the random networks. {SIZE} was chosen on earlier trainings of the first "
            "seeds' random networks of the first column.",
        ]
    )


def votes_page() -> str:
    """The published searches with fewer updates, and races among their random networks."""
    made = said()
    lines = head("updates", "Kendall tau", "positives", "voted for, test %")
    for step, seeds in _by(made["votes"], "step"):
        tau, positives, found = ([line[key] for line in seeds] for key in ("tau", "positives", "test_acc"))
        lines.append(row(step, spread(tau, 3), spread(positives, 0), spread(found, 2)))
    lines += [
        "",
        "What the networks that the published searches evaluated would have voted for by their losses after fewer "
        "updates. (A search that itself makes fewer proposes other networks.)",
        "",
        *head("racing, z", "updates a network", "of the best tenth stopped, %"),
    ]
    for z, seeds in _by(made["races"], "z"):
        updates, stopped = [line["updates"] for line in seeds], [100 * line["stopped"] for line in seeds]
        lines.append(row(f"{z:g}", spread(updates, 0), spread(stopped, 0)))
    return "\n".join(
        [
            *lines,
            "",
            f"Races (`RMINAS.RACE z`) among the random networks of the same searches: bounds learnt from {RAN}, judged "
            f"on the others, in {DRAWS} orders.",
        ]
    )


def _by(lines: Lines, key: str) -> Iterator[tuple[Any, Lines]]:
    """The lines of all seeds that have the same value, value by value."""
    for value in dict.fromkeys(line[key] for line in lines):
        yield value, [line for line in lines if line[key] == value]


def page() -> str:
    if not said()["random"]:
        return "Not made yet."
    titles = ("By updates", "Chosen from random networks", "The size beside the loss", "Fewer updates, and races")
    pages = (tau_page(), chosen_page(), weights_page(), votes_page())
    return "\n\n".join(f"**{title}**\n\n{text}" for title, text in zip(titles, pages, strict=True))
