"""From the best positives to one architecture: what most of them have."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def vote_sum(codes: np.ndarray) -> np.ndarray:
    """(L,) the most frequent choice of each position of (n, L) codes; ties go to the lower choice."""
    return np.array([np.bincount(column).argmax() for column in codes.T], dtype=codes.dtype)


def vote_greedy(codes: np.ndarray) -> np.ndarray:
    """(L,) position by position: the most frequent first choice, then the most frequent successor of the choice before.

    Ties go to the choice that is more frequent where its own successor is counted, then to the lower choice, as
    published; at the last position to the lower choice. Codes are (n, L), positions in the order of the space.
    """
    choices = int(codes.max()) + 1
    found = [int(np.bincount(codes[:, 0]).argmax())]
    for position in range(1, codes.shape[1]):
        after = codes[codes[:, position - 1] == found[-1], position]
        counts = np.bincount(after, minlength=choices)
        tied = np.flatnonzero(counts == counts.max())
        if position + 1 < codes.shape[1]:
            overall = np.bincount(codes[:, position], minlength=choices)[tied]
            tied = tied[overall == overall.max()]
        found.append(int(tied[0]))
    return np.array(found, dtype=codes.dtype)


VOTES: dict[str, Callable[[np.ndarray], np.ndarray]] = {"sum": vote_sum, "greedy": vote_greedy}
