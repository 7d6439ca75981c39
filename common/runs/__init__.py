"""Run folders: resolved config, one JSON line per finished evaluation, summary, plots; resumable and atomic."""

from common.runs.files import write_atomic, write_json
from common.runs.folder import RunFolder, environment

__all__ = ["RunFolder", "environment", "write_atomic", "write_json"]
