"""A predictor for people: tables and architectures in, scores and orders out; saved to a file that runs no code."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, is_dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, overload

import numpy as np

from common.benchmarks.table import BenchmarkTable
from common.encoding import ENCODINGS, EncodedFeatures, Encoding, FeatureSource, make_encoding
from common.errors import InputError
from common.predictors.base import CHUNK, Predictor
from common.predictors.registry import PREDICTORS
from common.runs.arrays import read_arrays, write_arrays
from common.runs.config import make_settings
from common.seeds import named_rngs
from common.spaces import SPACES, SearchSpace, make_space

FORMAT = 1  # of the files
PROBED = (
    8  # training architectures whose scores a file holds, to notice a predictor that gives others when it is loaded
)
STATE = "state."  # before the names of a predictor's own arrays


@dataclass(frozen=True)
class Ranking(Sequence[str]):
    """A table's architectures, best score first, equals in the table's order; written out when they are asked for.

    They are text, as `RunResult.found` and all files have them; `table.arch(row)` of `rows` are values.
    """

    table: BenchmarkTable
    rows: np.ndarray  # (N,) of the table, best first
    scores: np.ndarray  # (N,) in the same order

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self.table.arch_text(int(row)) for row in self.rows[index]]
        return self.table.arch_text(int(self.rows[index]))


@dataclass(frozen=True)
class _Training:
    """What a predictor was fitted on."""

    features: np.ndarray
    values: np.ndarray
    seed: int
    groups: np.ndarray | None  # of the columns, where known


class Ranker:
    """A predictor with the encoding it sees architectures by, and the space it was fitted on.

    >>> from common.benchmarks import load_benchmark
    >>> table = load_benchmark(None).head(200)
    >>> ranker = make_predictor("boosting").fit(table)
    >>> ranker.predict(table).shape
    (200,)
    >>> best = ranker.rank(table)[:10]
    >>> len(best)
    10
    """

    def __init__(self, predictor: Predictor, encoding: Encoding) -> None:
        self.predictor, self.encoding = predictor, encoding
        self.space: SearchSpace | None = None
        self._training: _Training | None = None

    # learning -------------------------------------------------------------------------------------------------------

    def fit(
        self,
        table: BenchmarkTable | None = None,
        column: str | None = None,
        seed: int = 0,
        *,
        archs: Sequence[Any] | None = None,
        values: Sequence[float] | np.ndarray | None = None,
        space: SearchSpace | None = None,
        on_step: Callable[[float, float], object] = lambda done, tau: None,
    ) -> Ranker:
        """Learns from a table, all of whose rows with a value are training data, or from architectures and values.

        Args:
            column: what to learn; None for `table.default_column`. seed: decides all that is drawn, as `--seed` does.
            archs, values, space: instead of a table; architectures as values or text, higher values are better.
            on_step: see Predictor.fit.
        Returns: this ranker. Raises: InputError for fewer than two architectures with a value, or features that are
        not finite.
        """
        if table is not None:
            labels, where = table.values(column), table.source.path or table.source.title
            source, self.space = self.encoding.source(table), table.space
        elif archs is not None and values is not None and space is not None:
            labels = np.asarray(values, dtype=np.float64)
            source, self.space, where = self._encoded(archs, space), space, "fit"
            if labels.shape != (len(source),):
                raise InputError(f"fit: {len(source)} architectures with values of shape {labels.shape}")
        else:
            raise InputError("fit takes a table, or archs, values and space")
        rows = np.flatnonzero(np.isfinite(labels))
        if len(rows) < 2:
            raise InputError(f"{where}: {len(rows)} architectures with a value, at least 2 are needed to compare any")
        self.fit_rows(source, rows, labels[rows], seed, where, on_step)
        return self

    def fit_rows(
        self,
        source: FeatureSource,
        rows: np.ndarray,
        values: np.ndarray,
        seed: int,
        where: str = "fit",
        on_step: Callable[[float, float], object] = lambda done, tau: None,
    ) -> None:
        """Learns from some rows of a feature source and their values (n,), finite. `where` begins error messages."""
        self.predictor.check(source.shape)
        features = source.rows(rows)
        check_finite(features, rows, where)
        self._fit(_Training(features, values, seed, getattr(source, "groups", None)), on_step)

    def _fit(self, training: _Training, on_step: Callable[[float, float], object] = lambda done, tau: None) -> None:
        # The second generator of a seed, as `table.sample` has the first: together they are `python -m renas --seed`.
        rng = named_rngs(training.seed, "sample", "train")["train"]
        self.predictor.groups = training.groups
        self.predictor.fit(training.features, training.values, rng, on_step)
        self._training = training

    # scores ---------------------------------------------------------------------------------------------------------

    def predict(self, what: BenchmarkTable | Sequence[Any]) -> np.ndarray:
        """Scores (N,), higher is better, of a table's rows or of architectures (values or their text).

        Raises: InputError when nothing was fitted yet, for another space, or for features that are not finite.
        """
        return self.score(*self._source(what))

    def score(
        self, source: FeatureSource, where: str = "predict", on_scored: Callable[[int], object] = lambda count: None
    ) -> np.ndarray:
        """Scores (N,) of features; `on_scored` gets the size of each finished part. Raises InputError as `predict`."""
        self._check_shape(source, where)
        scores = self.predictor.score(source, on_scored)
        unscored = np.flatnonzero(~np.isfinite(scores))[:1]  # one will do: of a training that diverged they are all
        if len(unscored):
            check_finite(source.rows(unscored), unscored, where)
        return scores

    def predict_with_std(self, what: BenchmarkTable | Sequence[Any]) -> tuple[np.ndarray, np.ndarray]:
        """Scores (N,) and their standard deviations (N,); zeros where the predictor knows none."""
        source, where = self._source(what)
        self._check_shape(source, where)
        parts = [np.arange(start, min(start + CHUNK, len(source))) for start in range(0, len(source), CHUNK)]
        made = [self.predictor.predict_with_std(source.rows(rows)) for rows in parts]
        return np.concatenate([scores for scores, _ in made]), np.concatenate([std for _, std in made])

    def rank(self, table: BenchmarkTable) -> Ranking:
        """A table's architectures, best first; NaN scores last."""
        scores = self.predict(table)
        order = np.argsort(-np.where(np.isnan(scores), -np.inf, scores), kind="stable")
        return Ranking(table, order, scores[order])

    def _source(self, what: BenchmarkTable | Sequence[Any]) -> tuple[FeatureSource, str]:
        """The features, and how messages about them begin."""
        if not isinstance(what, BenchmarkTable):
            _ = self._fitted
            if self.space is None:
                raise InputError("this predictor was fitted on feature tensors, not on architectures: give it a table")
            return self._encoded(what, self.space), "predict"
        where = what.source.path or what.source.title
        if self.space is not None and what.space is not None and what.space.name != self.space.name:
            raise InputError(f"{where}: {what.space.title}; this predictor learnt {self.space.title}")
        return self.encoding.source(what), where

    def _check_shape(self, source: FeatureSource, where: str) -> None:
        shape = self._fitted.features.shape[1:]
        if source.shape != shape:
            raise InputError(f"{where}: features of shape {source.shape}, but this predictor was fitted on {shape}")

    def feature_shape(self, space: SearchSpace) -> tuple[int, ...]:
        """The shape of one architecture's features in a space."""
        return self._encoded([space.sample(np.random.default_rng(0))], space).shape

    @property
    def _fitted(self) -> _Training:
        if self._training is None:
            raise InputError(f"predictor {self.predictor.name!r} has not been fitted")
        return self._training

    def _encoded(self, archs: Sequence[Any], space: SearchSpace) -> FeatureSource:
        self.encoding.check(space)
        values = [space.parse(arch) if isinstance(arch, str) else arch for arch in archs]
        if not values:
            raise InputError("no architectures given")
        return EncodedFeatures(self.encoding, space, space.to_codes(values))

    # files ----------------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Writes everything that scoring needs into one `.npz` file, atomically.

        The file holds numbers and JSON only. A predictor that has no `state()` of its own is fitted again, on the
        training features and values in the file, when it is loaded.
        """
        training, state, settings = self._fitted, self.predictor.state(), self.predictor.settings
        probe = training.features[:PROBED]
        arrays = {"probe.features": probe, "probe.scores": np.asarray(self.predictor.predict(probe), dtype=np.float64)}
        if state is None:
            arrays |= {"features": training.features, "values": training.values}
            arrays |= {} if training.groups is None else {"groups": training.groups}
        else:
            arrays |= {STATE + name: array for name, array in state.items()}
        description = {
            "format": FORMAT,
            "predictor": _name_of(self.predictor),
            "settings": asdict(settings),
            "encoding": self.encoding.describe(),
            "space": None if self.space is None else {"name": space_name(self.space), "fields": _fields_of(self.space)},
            "seed": training.seed,
            "n_train": len(training.values),
            "versions": _versions(),
        }
        write_arrays(Path(path).expanduser(), description, arrays)


def make_predictor(
    name: str | type[Predictor], encoding: str | None = None, device: str = "auto", **settings: Any
) -> Ranker:
    """The predictor called `name`, or one's own (a class, or `my_module:MyClass`), not fitted yet.

    Args: encoding: names joined by "+" (`make_encoding`); None for the predictor's own. device: auto, cpu or cuda.
        settings: by field name of the predictor's Settings.
    Raises: InputError for an unknown name, encoding or setting, or a value that a setting does not take.

    >>> make_predictor("boosting", max_iter=50).predictor.settings.max_iter
    50
    """
    cls = predictor_class(name)
    predictor = cls(make_settings(cls.Settings, settings, f"predictor {cls.name}"))
    predictor.device = device
    return Ranker(predictor, make_encoding(encoding or cls.encoding))


def predictor_class(name: str | type[Predictor]) -> type[Predictor]:
    """The class of a registered name, an import path or a class. Raises InputError for what is no predictor."""
    cls = PREDICTORS.load(name) if isinstance(name, str) else name
    if not (isinstance(cls, type) and issubclass(cls, Predictor)):
        raise InputError(f"predictor {name!r} is no subclass of common.predictors.Predictor")
    return cls


def load_predictor(
    path: str | Path,
    predictor: str | type[Predictor] | None = None,
    encoding: str | None = None,
    space: SearchSpace | None = None,
    device: str = "auto",
) -> Ranker:
    """The fitted predictor that `Ranker.save` wrote.

    Names in the file are looked up among the toolkit's own predictors, encodings and spaces, and nothing is imported
    because a file says so: a predictor, encoding or space of your own is given here. A predictor without a state of its
    own is fitted again, on the training data in the file; should other library versions give other scores then, a
    warning says so.

    Args: predictor, encoding, space: your own, as `make_predictor` takes them. device: auto, cpu or cuda.
    Raises: InputError for a file that is damaged or of another make, or one that needs what is not given.
    """
    path = Path(path).expanduser()
    about, arrays = read_arrays(path)
    try:
        if about["format"] != FORMAT:
            raise InputError(f"{path}: made by another version of this toolkit (format {about['format']!r})")
        made_by, seen_by = str(about["predictor"]), str(about["encoding"])
        if predictor is None and made_by not in PREDICTORS:
            raise InputError(f"{path}: made by a predictor of one's own, {made_by!r}: give its class as `predictor`")
        if encoding is None and not _ours(seen_by):
            raise InputError(
                f"{path}: made with an encoding of one's own, or of a file, {seen_by!r}: give it as `encoding`"
            )
        ranker = make_predictor(predictor or made_by, encoding or seen_by, device, **dict(about["settings"]))
        ranker.space = space or _space(about["space"], path)
        probe, scores, seed = arrays["probe.features"], arrays["probe.scores"], int(about["seed"])
        if ranker.space is not None and (shape := ranker.feature_shape(ranker.space)) != probe.shape[1:]:
            raise ValueError(f"features of shape {probe.shape[1:]}, where its encoding gives {shape}")
        state = {name.removeprefix(STATE): array for name, array in arrays.items() if name.startswith(STATE)}
        if state:
            ranker.predictor.restore(state)
            ranker._training = _Training(probe, scores, seed, None)
        else:
            features, values, groups = arrays["features"], arrays["values"], arrays.get("groups")
            if groups is not None and (groups.shape != features.shape[1:] or groups.dtype.kind != "i"):
                raise ValueError("groups of other columns")
            if values.shape != features.shape[:1] or len(values) < 2 or features.shape[1:] != probe.shape[1:]:
                raise ValueError("training features and values do not fit together")
            if not (np.isfinite(features).all() and np.isfinite(values).all()):
                raise ValueError("training data that are not finite")
            ranker._fit(_Training(features, values, seed, groups))
        again = np.asarray(ranker.predictor.predict(probe), dtype=np.float64)
        if again.shape != scores.shape:
            raise ValueError(f"scores of shape {scores.shape} that are {again.shape} here")
    except InputError as error:
        raise (error if str(error).startswith(str(path)) else InputError(f"{path}: {error}")) from None
    except (KeyError, ValueError, TypeError, RuntimeError, IndexError, AttributeError, MemoryError) as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise InputError(f"{path}: not a predictor that this toolkit saved ({said})") from None
    if not np.allclose(again, scores, rtol=1e-3, atol=1e-3 * float(np.ptp(scores)) + 1e-9, equal_nan=True):
        then = ", ".join(f"{name} {version}" for name, version in dict(about.get("versions", {})).items())
        if state:
            raise InputError(f"{path}: gives other scores than when it was saved ({then}): fit it again")
        warnings.warn(f"{path}: fitted again, it gives other scores than when it was saved ({then})", stacklevel=2)
    return ranker


def check_finite(features: np.ndarray, rows: np.ndarray, where: str) -> None:
    """Raises InputError naming the first of `rows` (n,) whose features (n, ...) are not finite in float32."""
    with np.errstate(over="ignore"):
        finite = np.isfinite(features.astype(np.float32)).reshape(len(features), -1).all(axis=1)
    wrong = rows[~finite]
    if len(wrong):
        what = "feature tensor holds" if features.ndim == 4 else "features hold"
        raise InputError(f"{where}: row {wrong[0]}: its {what} values that are not finite in float32")


def _ours(encoding: str) -> bool:
    """Whether an encoding is made of the toolkit's own without arguments that would name files."""
    names = [part.partition("=") for part in encoding.split("+")]
    return all(name in ENCODINGS and (name == "tensor" or not argument) for name, _, argument in names)


def _space(about: dict[str, Any] | None, path: Path) -> SearchSpace | None:
    if about is None:
        return None
    name = str(about["name"])
    if name not in SPACES:
        raise InputError(f"{path}: made on a space of one's own, {name!r}: give it as `space`")
    return make_space(name, **dict(about["fields"]))


def _fields_of(space: SearchSpace) -> dict[str, Any]:
    """What `make_space` takes, of a space that it can make; of another nothing, because it is given when it is read."""
    if space_name(space) not in SPACES or not is_dataclass(space):
        return {}
    return {f.name: getattr(space, f.name) for f in fields(space) if f.init}


def space_name(space: SearchSpace) -> str:
    """The registered name, or the import path of the class of a space that is not registered."""
    path = f"{type(space).__module__}:{type(space).__qualname__}"
    return space.name if SPACES.get(space.name) == path else path


def _name_of(predictor: Predictor) -> str:
    """The registered name, or the import path of a class that is not registered (a subclass of one that is, say)."""
    path = f"{type(predictor).__module__}:{type(predictor).__qualname__}"
    return next((name for name, member in PREDICTORS.items() if member == path), path)


def _versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in ("numpy", "scikit-learn", "torch")}
