"""Whether the package `common` that Python finds is the toolkit's: `renas` and `rminas` ask before they import it.

A folder called `common` where Python is started would be found first, and fail somewhere deep in the toolkit.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path


def refuse_foreign_common() -> None:
    """Raises ImportError, or ends a `python -m` command with one line, when `common` is not beside this file."""
    known = sys.modules.get("common")
    spec = find_spec("common") if known is None else known.__spec__
    found = Path(spec.origin).resolve().parent if spec is not None and spec.origin else None
    ours = Path(__file__).resolve().parent / "common"
    if found == ours:
        return
    said = (
        f"a package called common, in {found or 'the working folder'}, hides that of the toolkit, in {ours}: rename it"
    )
    if sys.argv[:1] == ["-m"]:  # Python is looking for the module of a command
        print(f"error: {said}, or start the command in another folder", file=sys.stderr)
        raise SystemExit(2)
    raise ImportError(f"{said}, or import renas and rminas from another folder")
