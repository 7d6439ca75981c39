"""One experiment on tables made by hand: what is trained on, found and reported, and that nothing leaks."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from common.benchmarks.table import BenchmarkTable, Column, Source
from common.encoding import FeatureTensor, encode, make_encoding
from common.errors import InputError
from common.predictors import Predictor, Ranker
from common.runs.files import plain
from common.search import run_search
from common.spaces import make_space
from renas.experiment import Experiment, PredictorChoice, check_experiment, make_topk, run_seed, train_count
from renas.protocol import choose_columns
from renas.settings import EvolvedSettings
from renas.topk import RowEvaluator

ROWS = 40
MakeTable = Callable[..., BenchmarkTable]


def an_experiment(
    table: BenchmarkTable, protocol: str = "honest", parts: str = "type,flops,params", **changes: Any
) -> Experiment:
    made = Experiment(
        table=table,
        columns=choose_columns(table, "cifar10", protocol),
        protocol=protocol,
        predictor=PredictorChoice.of("lenet", f"tensor={parts}", {"num_epochs": 2}),
        n_train=8,
        count=5,
        search="topk",
        evolved=EvolvedSettings(10, 3, 60),
    )
    return replace(made, **changes)


def accuracies(seed: int, count: int = ROWS) -> np.ndarray:
    return np.random.default_rng(seed).uniform(80, 95, count).round(2)


class FakePredictor(Predictor):
    """Scores as the test wants them; keeps the tensors that it was trained on."""

    name = "fake"
    trained_on: np.ndarray
    labels: np.ndarray

    def __init__(self, scores: np.ndarray, of_tensors: Callable[[np.ndarray], np.ndarray]) -> None:
        super().__init__()
        self.scores = scores.astype(np.float32)
        self.of_tensors = of_tensors

    def check(self, shape: tuple[int, ...]) -> None:
        assert len(shape) == 3

    def score(self, source: Any, on_scored: Callable[[int], object] = lambda count: None) -> np.ndarray:
        assert len(source) == len(self.scores)
        on_scored(len(self.scores))
        return self.scores

    def predict(self, features: np.ndarray) -> np.ndarray:
        return self.of_tensors(features)

    def fit(
        self,
        features: np.ndarray,
        values: np.ndarray,
        rng: np.random.Generator,
        on_step: Callable[[float, float], object] = lambda done, tau: None,
    ) -> None:
        self.trained_on, self.labels = features, values
        on_step(1.0, 0.25)

    def details(self) -> dict[str, Any]:
        return {"best_epoch": 0, "loss": [0.5], "train_tau": [0.25]}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakePredictor]:
    def install(scores: np.ndarray, of_tensors: Callable[[np.ndarray], np.ndarray] | None = None) -> FakePredictor:
        predictor = FakePredictor(scores, of_tensors or (lambda tensors: tensors[:, 1].sum((1, 2))))

        def make(choice: PredictorChoice, device: str = "auto") -> Ranker:
            return Ranker(predictor, make_encoding(choice.encoding))

        monkeypatch.setattr(PredictorChoice, "make", make)
        return predictor

    return install


# what is found -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_honest_finds_the_best_by_label_of_trained_and_proposed_cells(make_table: MakeTable, fake: Any, seed: int):
    table = make_table(cifar10_valid_12=accuracies(1), cifar10_test_200=accuracies(2))
    label, report = (column.values for column in table.columns.values())
    scores = accuracies(3)
    predictor = fake(scores)
    record = run_seed(an_experiment(table), seed).record
    trained = record["trained"]
    assert len(set(trained)) == 8
    # the five best scored among the others, best first
    others = [row for row in np.argsort(-scores) if row not in trained]
    assert [candidate["index"] for candidate in record["candidates"]] == others[:5]
    assert [candidate["score"] for candidate in record["candidates"]] == scores.astype(np.float32)[others[:5]].tolist()
    assert record["proposed_acc"] == pytest.approx(sum(report[row] for row in others[:5]) / 5)
    best = max([*others[:5], *trained], key=lambda row: label[row])
    assert record["found"]["index"] == best
    assert record["best_trained"]["index"] == max(trained, key=lambda row: label[row])
    # what was trained on: these rows' tensors and labels, together
    assert np.array_equal(np.sort(predictor.labels), np.sort(label[trained]))
    rows = [int(np.flatnonzero(label == value)[0]) for value in predictor.labels]
    assert np.array_equal(predictor.trained_on, encode(table.space, table.codes[rows]))
    # found = {arch, index, valid_acc, test_acc, rank, regret}, by hand
    found = record["found"]
    assert found["arch"] == table.arch_text(best)
    assert (found["valid_acc"], found["test_acc"]) == (label[best], report[best])
    assert found["rank"] == 1 + sum(value > report[best] for value in report)
    assert found["rank_percent"] == pytest.approx(100 * found["rank"] / ROWS)
    assert found["regret"] == pytest.approx(max(report) - report[best])


def test_a_trained_cell_can_be_the_find_and_so_can_a_proposed_one(make_table: MakeTable, fake: Any):
    """What the test above would not show if it always came out the same way."""
    table = make_table(cifar10_valid_12=accuracies(1), cifar10_test_200=accuracies(2))
    fake(accuracies(3))
    records = [run_seed(an_experiment(table), seed).record for seed in range(6)]
    from_training = [record["found"]["index"] in record["trained"] for record in records]
    assert 0 < sum(from_training) < 6
    assert len({tuple(record["trained"]) for record in records}) == 6


@pytest.mark.parametrize("seed", range(4))
def test_demo_takes_the_best_of_the_best_scored_as_they_come(make_table: MakeTable, fake: Any, seed: int):
    table = make_table(cifar10_valid_12=accuracies(1), cifar10_test_200=accuracies(2))
    report = table.column("cifar10_test_200").values
    scores = accuracies(3)
    predictor = fake(scores)
    record = run_seed(an_experiment(table, "demo", n_train=20), seed).record
    top = np.argsort(-scores)[:5].tolist()
    assert [candidate["index"] for candidate in record["candidates"]] == top
    assert set(top) & set(record["trained"])  # cells of the training sample are not left out
    assert record["found"]["index"] == max(top, key=lambda row: report[row])
    assert np.array_equal(np.sort(predictor.labels), np.sort(report[record["trained"]]))
    assert record["found"]["valid_acc"] == table.column("cifar10_valid_12").values[record["found"]["index"]]


def test_equal_scores_go_to_the_lower_row(make_table: MakeTable, fake: Any):
    table = make_table(cifar10_valid_12=accuracies(1), cifar10_test_200=accuracies(2))
    fake(np.ones(ROWS))
    record = run_seed(an_experiment(table, "demo"), 0).record
    assert [candidate["index"] for candidate in record["candidates"]] == [0, 1, 2, 3, 4]


def test_isomorphic_twins_are_proposed_once_and_those_of_trained_cells_not_at_all(make_table: MakeTable, fake: Any):
    space = make_space("nasbench201")
    table = make_table(cifar10_valid_12=accuracies(1), cifar10_test_200=accuracies(2))
    twin = space.parse("|avg_pool_3x3~0|+|nor_conv_3x3~0|none~1|+|nor_conv_1x1~0|nor_conv_3x3~1|nor_conv_3x3~2|")
    other = space.parse("|nor_conv_3x3~0|+|avg_pool_3x3~0|none~1|+|nor_conv_1x1~0|nor_conv_3x3~1|nor_conv_3x3~2|")
    table.codes[[3, 17]] = space.to_codes([twin, other])  # the same with nodes 1 and 2 exchanged
    keys = [table.key(row) for row in range(ROWS)]
    assert keys[3] == keys[17]
    assert len(set(keys)) == ROWS - 1
    scores = np.arange(ROWS, 0, -1.0)
    scores[[3, 17]] = 100, 99
    fake(scores)
    seen = set()
    for seed in range(12):
        record = run_seed(an_experiment(table), seed).record
        proposed = [candidate["index"] for candidate in record["candidates"]]
        known = {3, 17} & set(record["trained"])
        assert len({3, 17} & set(proposed)) == (0 if known else 1)
        assert len(proposed) == 5
        seen.add(bool(known))
    assert seen == {True, False}


def test_a_count_beyond_the_table_proposes_all_that_is_left(make_table: MakeTable, fake: Any):
    table = make_table(cifar10_valid_12=accuracies(1), cifar10_test_200=accuracies(2))
    fake(accuracies(3))
    record = run_seed(an_experiment(table, count=1000), 0).record
    assert len(record["candidates"]) == ROWS - 8
    assert record["found"]["index"] == int(np.argmax(table.column("cifar10_valid_12").values))


# what is measured --------------------------------------------------------------------------------------------------


def test_tau_and_spearman_are_over_the_cells_not_trained_on(make_table: MakeTable, fake: Any):
    report, scores = accuracies(2), accuracies(3).astype(np.float32)
    table = make_table(cifar10_valid_12=accuracies(1), cifar10_test_200=report)
    fake(scores)
    result = run_seed(an_experiment(table), 0)
    others = [row for row in range(ROWS) if row not in result.record["trained"]]
    assert result.record["n_test"] == result.record["n_test_labelled"] == len(others) == ROWS - 8
    expected = stats.kendalltau(scores[others], report[others]).statistic
    assert result.record["kendall_tau"] == pytest.approx(expected)
    assert expected != pytest.approx(stats.kendalltau(scores, report).statistic)
    assert result.record["spearman"] == pytest.approx(stats.spearmanr(scores[others], report[others]).statistic)
    assert np.array_equal(result.scores, scores)


@pytest.mark.parametrize("protocol", ["honest", "demo"])
def test_what_was_not_measured_is_neither_trained_on_nor_found_nor_counted(
    make_table: MakeTable, fake: Any, protocol: str
):
    label, report, scores = accuracies(1), accuracies(2), accuracies(3)
    label[::3] = np.nan
    report[1::5] = np.nan
    table = make_table(cifar10_valid_12=label, cifar10_test_200=report)
    fake(scores)
    usable = np.isfinite(report) if protocol == "demo" else np.isfinite(label) & np.isfinite(report)
    for seed in range(8):
        record = run_seed(an_experiment(table, protocol), seed).record
        trained = record["trained"]
        assert np.isfinite((report if protocol == "demo" else label)[trained]).all()
        shown = [record["found"], record["best_trained"], *record["candidates"]]
        assert all(usable[one["index"]] for one in shown)
        others = [row for row in range(ROWS) if row not in trained and np.isfinite(report[row])]
        assert record["n_test"] == len(others)
        assert record["kendall_tau"] == pytest.approx(stats.kendalltau(scores[others], report[others]).statistic)
        labelled = [row for row in others if usable[row]]
        assert record["n_test_labelled"] == len(labelled)
        expected = stats.kendalltau(scores[labelled], report[labelled]).statistic
        assert record["kendall_tau_labelled"] == pytest.approx(expected)
        found = record["found"]
        assert found["rank"] == 1 + sum(value > found["test_acc"] for value in report)
        assert found["rank_percent"] == pytest.approx(100 * found["rank"] / np.isfinite(report).sum())
        assert found["regret"] == pytest.approx(np.nanmax(report) - found["test_acc"])


def test_the_record_is_strict_json_with_times(make_table: MakeTable, fake: Any):
    table = make_table(cifar10_test_200=accuracies(2))
    fake(np.ones(ROWS))
    record = run_seed(an_experiment(table), 3).record
    assert math.isnan(record["kendall_tau"])  # all scores are equal
    assert math.isnan(record["found"]["valid_acc"])  # the table has none
    stored = json.loads(json.dumps(plain(record), allow_nan=False))
    assert stored["seed"] == 3
    assert stored["kendall_tau"] is None
    assert all(stored[key] >= 0 for key in ("train_s", "score_s", "search_s"))


def test_progress_covers_every_stage(make_table: MakeTable, fake: Any):
    table = make_table(cifar10_valid_12=accuracies(1), cifar10_test_200=accuracies(2))
    fake(accuracies(3))
    seen: list[tuple[str, float, float]] = []
    run_seed(an_experiment(table, search="ea"), 0, on_step=lambda *step: seen.append(step))
    assert seen[0] == ("train", 1, 0.25)
    for stage in ("score", "search"):
        shares = [done for name, done, _ in seen if name == stage]
        assert shares == sorted(shares)
        assert shares[-1] == 1


# evolution ---------------------------------------------------------------------------------------------------------


def test_evolution_proposes_what_the_table_knows_of_what_it_scored(make_table: MakeTable, fake: Any):
    table = make_table(cifar10_valid_12=accuracies(1, 400), cifar10_test_200=accuracies(2, 400))
    asked: list[np.ndarray] = []

    def score(tensors: np.ndarray) -> np.ndarray:
        asked.append(tensors)
        return tensors[:, 1].sum((1, 2))

    fake(accuracies(3, 400), score)
    record = run_seed(an_experiment(table, search="ea", parts="type,flops"), 0).record
    tensors = np.concatenate(asked)
    assert tensors.shape == (record["predictor_calls"], 16, 4, 4) == (60, 16, 4, 4)
    assert record["best_score_after_round"][-1] == pytest.approx(float(tensors[:, 1].sum((1, 2)).max()))
    assert not record["gave_up"]
    proposed = [candidate["index"] for candidate in record["candidates"]]
    assert 0 < len(proposed) <= 5
    assert not set(proposed) & set(record["trained"])
    flops = encode(table.space, table.codes, ("flops",))[proposed, 0].sum((1, 2))
    assert (np.diff(flops) <= 0).all()  # best scored first
    assert set(flops.tolist()) <= set(tensors[:, 1].sum((1, 2)).tolist())


def test_evolution_follows_the_seed(make_table: MakeTable, fake: Any):
    table = make_table(cifar10_valid_12=accuracies(1, 400), cifar10_test_200=accuracies(2, 400))
    fake(accuracies(3, 400))
    first, again, other = (run_seed(an_experiment(table, search="ea"), seed).record for seed in (0, 0, 1))
    assert first["best_score_after_round"] == again["best_score_after_round"] != other["best_score_after_round"]
    assert first["candidates"] == again["candidates"]
    # draws of its own: how many cells are sampled for training shifts nothing
    more = run_seed(an_experiment(table, search="ea", n_train=12), 0).record
    assert more["best_score_after_round"] == first["best_score_after_round"]


# with the real predictor -------------------------------------------------------------------------------------------


def test_the_honest_protocol_never_looks_at_what_it_reports(make_table: MakeTable):
    valid, test = accuracies(1), accuracies(2)
    honest = [
        run_seed(an_experiment(make_table(cifar10_valid_12=valid, cifar10_test_200=report)), 0)
        for report in (test, test[::-1].copy(), np.full(ROWS, 50.0))
    ]
    for result in honest[1:]:
        assert np.array_equal(result.scores, honest[0].scores)
        for key in ("trained", "loss", "train_tau", "best_epoch"):
            assert result.record[key] == honest[0].record[key]
        assert result.record["found"]["index"] == honest[0].record["found"]["index"]
        rows = [[candidate["index"] for candidate in r.record["candidates"]] for r in (honest[0], result)]
        assert rows[0] == rows[1]
    assert honest[0].record["kendall_tau"] != honest[1].record["kendall_tau"]
    demo = [
        run_seed(an_experiment(make_table(cifar10_valid_12=valid, cifar10_test_200=report), "demo"), 0)
        for report in (test, test[::-1].copy())
    ]
    assert not np.array_equal(demo[0].scores, demo[1].scores)


@pytest.mark.parametrize("search", ["topk", "ea"])
def test_a_seed_gives_the_same_numbers_again_and_another_seed_others(make_table: MakeTable, search: str):
    table = make_table(cifar10_valid_12=accuracies(1), cifar10_test_200=accuracies(2))
    first, again, other = (run_seed(an_experiment(table, search=search), seed) for seed in (0, 0, 1))
    timeless = [{k: v for k, v in r.record.items() if not k.endswith("_s")} for r in (first, again, other)]
    assert timeless[0] == timeless[1]
    assert np.array_equal(first.scores, again.scores)
    assert timeless[0]["trained"] != timeless[2]["trained"]
    assert not np.array_equal(first.scores, other.scores)


def test_the_training_sample_depends_on_the_seed_alone(make_table: MakeTable):
    """The same cells for every loss and every feature, so that variants are compared on the same samples."""
    table = make_table(cifar10_valid_12=accuracies(1), cifar10_test_200=accuracies(2))
    records = [
        run_seed(an_experiment(table, **changes), 5).record
        for changes in (
            {},
            {"parts": "type"},
            {"predictor": PredictorChoice.of("lenet", settings={"num_epochs": 1, "loss": "mse"})},
            {"predictor": PredictorChoice.of("boosting", settings={"max_iter": 2})},
            {"search": "ea"},
        )
    ]
    assert all(record["trained"] == records[0]["trained"] for record in records)


# features ----------------------------------------------------------------------------------------------------------


class Prepared:
    def __init__(self, tensors: np.ndarray) -> None:
        self.tensors = tensors
        self.shape = tensors.shape[1:]

    def __len__(self) -> int:
        return len(self.tensors)

    def rows(self, indices: np.ndarray) -> np.ndarray:
        return self.tensors[indices]


def prepared_table(channels: int) -> tuple[BenchmarkTable, np.ndarray]:
    tensors = np.random.default_rng(0).normal(size=(ROWS, channels, 4, 4))
    column = Column("cifar10_test_108", accuracies(2), dataset="cifar10", split="test", epochs=108)
    table = BenchmarkTable(Source("demo_shards", "made", "folder"), {column.name: column}, prepared=Prepared(tensors))
    return table, tensors


@pytest.mark.parametrize(
    ("parts", "channels"),
    [("type", [0]), ("flops", [1, 2, 3]), ("params, type", [0, 4, 5, 6]), ("type,flops,params", [*range(7)])],
)
def test_parts_of_prepared_tensors_are_picked_out(parts: str, channels: list[int]):
    table, tensors = prepared_table(7)
    features = FeatureTensor(parts).source(table)
    rows = np.array([5, 0, 39])
    assert features.shape == (len(channels), 4, 4)
    assert np.array_equal(features.rows(rows), tensors[rows][:, channels])


def test_all_parts_of_prepared_tensors_are_whatever_channels_they_have():
    table, tensors = prepared_table(4)
    features = FeatureTensor().source(table)
    assert np.array_equal(features.rows(np.arange(ROWS)), tensors)
    with pytest.raises(InputError, match="tensors of 4 channels"):
        FeatureTensor("type").source(table)


def test_a_table_of_tensors_runs_without_architectures():
    table, tensors = prepared_table(7)
    record = run_seed(an_experiment(table), 0).record
    assert record["found"]["arch"] == f"row {record['found']['index']}"
    assert math.isnan(record["found"]["valid_acc"])
    assert len(record["candidates"]) == 5
    assert len(tensors) == record["n_test"] + 8


# other predictors and searches --------------------------------------------------------------------------------------


@pytest.mark.parametrize("search", ["topk", "ea"])
@pytest.mark.parametrize("space", ["darts", "macro", "nasbench101"])
def test_flat_features_run_in_spaces_without_tensors(space: str, search: str):
    made = make_space(space)
    rng = np.random.default_rng(0)
    codes = made.to_codes(made.sample_distinct(60, rng))
    flops = made.total_costs(codes)[0]
    columns = {
        f"cifar10_{split}_200": Column(
            f"cifar10_{split}_200", 60 + 30 * flops / flops.max(), "%", "cifar10", split, 200
        )
        for split in ("valid", "test")
    }
    table = BenchmarkTable(Source("made", "made", "made.csv"), columns, made, codes)
    experiment = an_experiment(
        table,
        n_train=30,
        count=5,
        search=search,
        predictor=PredictorChoice.of("boosting", settings={"max_iter": 50}),
        evolved=EvolvedSettings(10, 3, 100),
    )
    check_experiment(experiment)
    record = run_seed(experiment, 0).record
    assert record["kendall_tau"] > 0.6
    assert len(record["candidates"]) == (5 if search == "topk" else len(record["candidates"]))
    assert "best_epoch" not in record  # of the lenet's
    with pytest.raises(InputError, match="feature tensors"):
        check_experiment(an_experiment(replace(table, space=make_space("darts")), n_train=30))


STRATEGIES = ["random", "evolution", "local", "reinforce"]


@pytest.mark.parametrize("protocol", ["honest", "demo"])
@pytest.mark.parametrize("search", STRATEGIES)
def test_a_strategy_spends_the_budget_on_true_values(make_table: MakeTable, search: str, protocol: str):
    label, report = accuracies(1), accuracies(2)
    label[::5] = np.nan
    table = make_table(cifar10_valid_12=label, cifar10_test_200=report)
    experiment = an_experiment(table, protocol, search=search, predictor=None, n_train=8, count=5)
    check_experiment(experiment)
    result = run_seed(experiment, 3)
    record = result.record
    assert (result.scores, result.ranker) == (None, None)
    rows = record["evaluated"]
    assert len(set(rows)) == len(rows) == len(record["phases"]) == 13
    chosen_by = report if protocol == "demo" else label
    assert np.isfinite(chosen_by[rows]).all()
    assert record["found"]["index"] == max(rows, key=lambda row: chosen_by[row])
    assert record["found"]["label"] == max(chosen_by[rows])
    assert record["found"]["test_acc"] == report[record["found"]["index"]]
    again, other = run_seed(experiment, 3).record, run_seed(experiment, 4).record
    assert again["evaluated"] == rows != other["evaluated"]
    assert json.loads(json.dumps(plain(record), allow_nan=False))["ended"] == ""


def test_a_budget_beyond_the_table_ends_with_the_table(make_table: MakeTable):
    table = make_table(cifar10_valid_12=accuracies(1), cifar10_test_200=accuracies(2))
    record = run_seed(an_experiment(table, search="random", predictor=None, n_train=90, count=10), 0).record
    assert sorted(record["evaluated"]) == [*range(ROWS)]
    assert record["ended"]


def test_what_was_evaluated_is_kept_in_its_order(make_table: MakeTable, fake: Any):
    table = make_table(cifar10_valid_12=accuracies(1), cifar10_test_200=accuracies(2))
    fake(accuracies(3))
    record = run_seed(an_experiment(table), 0).record
    sampled, proposed = record["evaluated"][:8], record["evaluated"][8:]
    assert sorted(sampled) == record["trained"] != sampled  # in the order of drawing, which is random
    assert proposed == [candidate["index"] for candidate in record["candidates"]]


def test_the_search_is_kept_as_a_history_of_two_rounds(make_table: MakeTable, fake: Any):
    table = make_table(cifar10_valid_12=accuracies(1), cifar10_test_200=accuracies(2))
    fake(accuracies(3))
    experiment = an_experiment(table)
    label = table.column("cifar10_valid_12").values
    history = run_search(make_topk(experiment, 0, "cpu", lambda *_: None), RowEvaluator(label), 13).history
    assert [evaluation.phase for evaluation in history] == ["sample"] * 8 + ["predictor"] * 5
    assert history.values.tolist() == label[history.archs].tolist()
    assert history.archs == run_seed(experiment, 0).record["evaluated"]


# how many to train on ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "labelled", "number", "ratio", "expected"),
    [
        (423_624, 423_624, None, 0.001, 423),
        (423_624, 423_624, None, None, 424),
        (423_624, 423_624, 424, None, 424),
        (423_624, 423_624, None, 0.01, 4236),
        (15_625, 15_625, None, None, 424),
        (15_625, 9_445, None, None, 424),
        (15_625, 15_625, None, 0.01, 156),
        (1_000_000, 1_000_000, None, None, 1000),
        (6_561, 6_561, None, None, 424),
        (100, 100, None, None, 50),
        (100, 30, None, None, 15),
        (15_625, 15_625, 78, 0.5, 78),
        (15_625, 9_445, 9_445, None, 9_445),
        (100, 100, None, 0.98, 98),
        (100, 100, 2, None, 2),
    ],
)
def test_how_many_to_train_on(size: int, labelled: int, number: int | None, ratio: float | None, expected: int):
    assert train_count(size, labelled, number, ratio) == expected


@pytest.mark.parametrize(
    ("size", "labelled", "number", "ratio", "said"),
    [
        (1000, 1000, None, 0.0, "--train_ratio 0:"),
        (1000, 1000, None, -0.1, "--train_ratio -0.1:"),
        (1000, 1000, None, 1.5, "--train_ratio 1.5:"),
        (1000, 1000, None, math.nan, "--train_ratio nan:"),
        (1000, 1000, None, math.inf, "--train_ratio inf:"),
        (1000, 1000, None, 0.001, "gives 1 training architectures: at least 2"),
        (1000, 1000, None, 0.0005, "gives 0 training architectures: at least 2"),
        (1000, 1000, None, 1.0, "gives 1,000 training .* at least 2 must be left"),
        (1000, 1000, None, 0.999, "gives 999 training .* at least 2 must be left"),
        (1000, 1000, 1, None, "--train_num 1 gives 1 training architectures: at least 2"),
        (1000, 1000, 0, None, "--train_num 0 gives 0"),
        (1000, 1000, -5, None, "--train_num -5 gives -5"),
        (1000, 300, 301, None, "gives 301 training .* only 300 of 1,000 have a label"),
        (1000, 300, None, 0.5, "gives 500 training .* only 300 of 1,000 have a label"),
        (3, 3, None, None, "the default gives 1"),
        (1000, 0, None, None, "the default gives 1"),
    ],
)
def test_how_many_cannot_be_trained_on(size: int, labelled: int, number: int | None, ratio: float | None, said: str):
    with pytest.raises(InputError, match=said) as caught:
        train_count(size, labelled, number, ratio)
    assert "\n" not in str(caught.value)
