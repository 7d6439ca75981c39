"""Shared layer of renas and rminas: spaces, networks, encodings, benchmarks, metrics, run records."""

__version__ = "0.2.0"  # of the toolkit; the only place it is written
