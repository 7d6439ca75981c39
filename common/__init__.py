"""Shared layer of renas and rminas: spaces, networks, encodings, benchmarks, metrics, run records."""
