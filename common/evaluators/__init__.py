"""Evaluators: what says how good an architecture is."""

from common.evaluators.base import NO_BOUNDS, Bounds, Evaluator, Outcome, Request

__all__ = ["NO_BOUNDS", "Bounds", "Evaluator", "Outcome", "Request"]
