"""Torch modules that search spaces build."""
