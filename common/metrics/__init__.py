"""Ranking metrics, exact on any number of architectures."""
