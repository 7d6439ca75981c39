"""What the best positives speak for: how much, for every choice at every position (`space.most_voted` decides)."""

from __future__ import annotations

import numpy as np


def vote_sum(codes: np.ndarray, choices: int) -> np.ndarray:
    """(L, choices) float64: how many of (n, L) codes have each choice; with it the most frequent ones win."""
    return np.stack([np.bincount(column, minlength=choices) for column in codes.T]).astype(np.float64)


def vote_greedy(codes: np.ndarray, choices: int) -> np.ndarray:
    """(L, choices) 0 or 1: position by position, the most frequent successor of the choice before.

    The first position takes its most frequent choice. Ties go to the choice that is more frequent where its own
    successor is counted, then to the lower choice, as published; at the last position to the lower choice.
    """
    counts = vote_sum(codes, choices)
    found = [int(counts[0].argmax())]
    for position in range(1, codes.shape[1]):
        after = codes[codes[:, position - 1] == found[-1], position]
        successors = np.bincount(after, minlength=choices)
        tied = np.flatnonzero(successors == successors.max())
        if position + 1 < codes.shape[1]:
            overall = counts[position, tied]
            tied = tied[overall == overall.max()]
        found.append(int(tied[0]))
    return np.eye(choices)[found]


def vote_index(codes: np.ndarray, choices: int) -> np.ndarray:
    """(L, choices): every position's most frequent choice weighs its own number, and nothing else has weight.

    The archive's slip in DARTS, kept to rebuild its results: the two edges of a node are chosen by the number of the
    operation that won on them, not by its votes. Choice 0 (no edge) cannot win.
    """
    winners = vote_sum(codes, choices)[:, 1:].argmax(1) + 1
    return np.eye(choices)[winners] * winners[:, None]
