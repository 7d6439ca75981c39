"""Evaluators: what says how good an architecture is."""

from common.evaluators.base import Bounds, Evaluator, Outcome, Request

__all__ = ["Bounds", "Evaluator", "Outcome", "Request"]
