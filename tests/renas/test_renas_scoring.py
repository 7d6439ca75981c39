"""Scoring with a trained predictor: the same scores however many architectures come at once, and in their order."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch

from common.benchmarks.table import FeatureSource
from common.encoding import EncodedFeatures, FeatureTensor, encode
from common.spaces import SPACES, SearchSpace, TensorSpace, make_space
from renas.fast.neighbourhoods import NeighbourhoodScorer
from renas.predictor import LeNetPredictor
from renas.settings import LeNetSettings

SETTINGS = LeNetSettings(num_epochs=2)


def random_codes(space: SearchSpace, count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return space.to_codes([space.sample(rng) for _ in range(count)])


def trained(tensors: np.ndarray, settings: LeNetSettings = SETTINGS) -> Any:
    labels = np.random.default_rng(0).normal(90, 2, len(tensors))
    predictor = LeNetPredictor(settings)
    predictor.device = "cpu"
    predictor.fit(tensors, labels, np.random.default_rng(0))
    return predictor


class Prepared:
    """Tensors as a feature source; keeps account of the rows that were asked for."""

    def __init__(self, tensors: np.ndarray) -> None:
        self.tensors = tensors
        self.asked: list[np.ndarray] = []

    @property
    def shape(self) -> Any:
        return self.tensors.shape[1:]

    def __len__(self) -> int:
        return len(self.tensors)

    def rows(self, indices: np.ndarray) -> np.ndarray:
        self.asked.append(np.asarray(indices))
        return self.tensors[indices]


def by_neighbourhoods(predictor: LeNetPredictor, source: FeatureSource) -> np.ndarray:
    """However few of them repeat."""
    scorer = NeighbourhoodScorer(predictor.network, predictor.standardizer, limit=np.inf)
    with ThreadPoolExecutor(2, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        scores = scorer.score(source, range(len(source)), pool, lambda count: None)
    assert scores is not None
    return scores


both_ways = pytest.mark.parametrize("score", [LeNetPredictor.score, by_neighbourhoods])
Score = Callable[[LeNetPredictor, FeatureSource], np.ndarray]


def close(made: np.ndarray, expected: np.ndarray) -> None:
    """Up to float32's rounding, in units of the scores' spread."""
    assert made.dtype == expected.dtype == np.float32
    assert made.shape == expected.shape
    assert expected.std() > 0
    np.testing.assert_allclose(made, expected, atol=1e-4 * float(expected.std()), rtol=1e-5)


@pytest.mark.parametrize("name", sorted(name for name in SPACES if isinstance(make_space(name), TensorSpace)))
@pytest.mark.parametrize("parts", [("type",), ("type", "flops", "params")])
def test_scores_of_encoded_features_are_the_predictions_of_their_tensors(name: str, parts: tuple[str, ...]):
    space = make_space(name)
    codes = random_codes(space, 560)
    tensors = encode(space, codes, parts)
    predictor = trained(tensors[:60])
    seen: list[int] = []
    scores = predictor.score(EncodedFeatures(FeatureTensor(",".join(parts)), space, codes), on_scored=seen.append)
    close(scores, predictor.predict(tensors))
    assert sum(seen) == 560


def test_how_many_come_at_once_does_not_matter():
    space = make_space("nasbench201")
    tensors = encode(space, random_codes(space, 1100), ("type",))
    predictor = trained(tensors[:60])
    whole = predictor.predict(tensors)
    close(np.concatenate([predictor.predict(part) for part in np.array_split(tensors, 7)]), whole)
    close(np.concatenate([predictor.predict(tensors[i : i + 1]) for i in range(40)]), whole[:40])
    close(predictor.score(Prepared(tensors)), whole)
    for count in (1, 2, 255, 513):
        close_enough = predictor.score(Prepared(tensors[:count]))
        np.testing.assert_allclose(close_enough, whole[:count], atol=1e-4 * whole.std())


@both_ways
def test_scores_keep_the_order_of_the_architectures(score: Score):
    space = make_space("nasbench201")
    codes = random_codes(space, 1500)
    predictor = trained(encode(space, codes[:60], ("type",)))
    order = np.random.default_rng(1).permutation(1500)
    forward = score(predictor, EncodedFeatures(FeatureTensor("type"), space, codes))
    close(score(predictor, EncodedFeatures(FeatureTensor("type"), space, codes[order])), forward[order])
    tensors = encode(space, codes, ("type",))
    close(predictor.predict(tensors[order]), predictor.predict(tensors)[order])


def test_architectures_are_asked_for_a_few_at_a_time():
    tensors = np.triu(np.random.default_rng(0).normal(size=(10_000, 1, 4, 4)), 1)
    source = Prepared(tensors)
    predictor = trained(tensors[:60])
    scores = predictor.score(source)
    counts = np.bincount(np.concatenate(source.asked))
    assert counts.min() >= 1
    assert counts[9000] == 1  # beyond those that show that nothing repeats
    assert max(map(len, source.asked)) <= 4096
    close(scores[-100:], predictor.predict(tensors[-100:]))


@pytest.mark.parametrize("name", ["nasbench101", "nasbench201"])
def test_a_space_is_scored_by_its_distinct_neighbourhoods(name: str, monkeypatch: pytest.MonkeyPatch):
    """Nothing but the distinct entries is read again, and the network itself is not asked."""
    space = make_space(name)
    source = Prepared(encode(space, random_codes(space, 9_000)))
    predictor = trained(source.tensors[:60])
    close(by_neighbourhoods(predictor, source), predictor.predict(source.tensors))
    source.asked.clear()
    expected = predictor.predict(source.tensors)
    monkeypatch.setattr("renas.fast.scoring.CHUNK", 0)  # what asks the network
    close(predictor.score(source), expected)
    assert 9_000 < len(np.concatenate(source.asked)) < 10_000


def test_every_distinct_neighbourhood_is_told_from_the_others():
    """Entries that differ in a single bit of their exponent, in one place or in two that trade their values."""
    side, channels = 5, 2
    base = np.ones((channels, side, side))
    tensors = [base]
    for place in np.ndindex(base.shape):
        for value in (0.0, 0.5, 2.0, 4.0, -1.0, 1.0 + 2.0**-40):
            one = base.copy()
            one[place] = value
            tensors.append(one)
            for other in ((0, 0, 0), (1, 2, 3)):
                two = one.copy()
                two[other], two[place] = value, 1.0
                two[other[0], side - 1, 0] = 2.0
                tensors.append(two)
    made = np.array(tensors)
    predictor = trained(np.random.default_rng(0).normal(size=(60, channels, side, side)))
    close(by_neighbourhoods(predictor, Prepared(made)), predictor.predict(made))


def test_blocks_of_a_large_space_are_scored_like_the_whole(monkeypatch: pytest.MonkeyPatch):
    space = make_space("nasbench201")
    source = EncodedFeatures(FeatureTensor(), space, random_codes(space, 9_000))
    predictor = trained(source.rows(np.arange(60)))
    whole = predictor.score(source)
    monkeypatch.setattr("renas.fast.scoring.BLOCK", 4_000)  # the last one is smaller than what is tried
    seen: list[int] = []
    close(predictor.score(source, on_scored=seen.append), whole)
    assert sum(seen) == 9_000


def test_the_number_of_threads_does_not_change_a_score():
    space = make_space("nasbench201")
    source = EncodedFeatures(FeatureTensor(), space, random_codes(space, 3000))
    predictor = trained(source.rows(np.arange(60)))
    alone = predictor.score(source)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        assert np.array_equal(predictor.score(source), alone)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_no_architectures_have_no_scores():
    tensors = np.random.default_rng(0).normal(size=(20, 1, 4, 4))
    predictor = trained(tensors)
    for scores in (predictor.predict(tensors[:0]), predictor.score(Prepared(tensors[:0]))):
        assert (scores.shape, scores.dtype) == ((0,), np.float32)


def test_a_source_that_fails_is_not_half_scored():
    tensors = np.random.default_rng(0).normal(size=(3000, 1, 4, 4))

    class Failing(Prepared):
        def rows(self, indices: np.ndarray) -> np.ndarray:
            if indices[0] > 500:
                raise OSError("disk")
            return super().rows(indices)

    with pytest.raises(OSError, match="disk"):
        trained(tensors[:20]).score(Failing(tensors))


# tensors that are not as cells make them ---------------------------------------------------------------------------


@both_ways
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_prepared_tensors_need_not_be_upper_triangular(dtype: type, score: Score):
    tensors = np.random.default_rng(0).normal(size=(900, 3, 5, 5)).astype(dtype)
    tensors[::2] = np.triu(tensors[::2], 1)
    predictor = trained(tensors[:61])
    close(score(predictor, Prepared(tensors)), predictor.predict(tensors))


@both_ways
def test_entries_below_the_diagonal_may_occur_in_scoring_only(score: Score):
    rng = np.random.default_rng(0)
    tensors = rng.normal(size=(1500, 3, 5, 5))
    tensors[:700] = np.triu(tensors[:700], 1)
    predictor = trained(tensors[:60])
    close(score(predictor, Prepared(tensors)), predictor.predict(tensors))


@both_ways
def test_entries_below_the_diagonal_may_occur_in_training_only(score: Score):
    tensors = np.triu(np.random.default_rng(0).normal(size=(300, 3, 5, 5)), 1)
    predictor = trained(tensors[:60] + np.random.default_rng(1).normal(size=(60, 3, 5, 5)))
    close(score(predictor, Prepared(tensors)), predictor.predict(tensors))


@both_ways
@pytest.mark.parametrize("name", ["nasbench101", "nasbench201"])
def test_a_cost_that_all_have_in_common_drowns_nothing(name: str, score: Score):
    """Millions of FLOPs on an edge of every training cell are centred away, and must not cost the rest its digits."""
    space = make_space(name)
    tensors = encode(space, random_codes(space, 400))
    tensors[:, :, 0, -1] = tensors[np.argmax(tensors[:, 1, 0, -1]), :, 0, -1]
    assert tensors[:, 1, 0, -1].min() > 1e6
    predictor = trained(tensors[:60])
    close(score(predictor, Prepared(tensors)), predictor.predict(tensors))


@both_ways
def test_a_predictor_scores_the_same_after_more_training_elsewhere(score: Score):
    """Batch norm must use its running statistics, whatever mode the network was left in."""
    tensors = np.random.default_rng(0).normal(size=(50, 1, 4, 4))
    predictor = trained(tensors)
    first = predictor.predict(tensors)
    predictor.network.train()
    assert np.array_equal(predictor.predict(tensors), first)
    predictor.network.train()
    close(score(predictor, Prepared(tensors)), first)


@both_ways
def test_channels_that_hardly_vary_are_normalised_as_batch_norm_does(score: Score):
    """Where the variance is as small as the constant that batch norm adds to it."""
    tensors = np.triu(np.random.default_rng(0).normal(size=(600, 2, 4, 4)), 1)
    predictor = trained(tensors[:60])
    for layer in predictor.network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.running_var.fill_(2e-5)
    close(score(predictor, Prepared(tensors)), predictor.predict(tensors))
