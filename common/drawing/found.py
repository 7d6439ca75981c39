"""What the seeds of a run have found, drawn into its folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common.drawing.architecture import draw_architecture
from common.drawing.figures import save_figure
from common.spaces.base import SearchSpace

MOST = 5  # seeds whose architectures are drawn


def save_found(space: SearchSpace[Any], found: Mapping[int, Any], folder: Path) -> None:
    """`found_SEED.png` and `.pdf` of the first MOST seeds; a drawing that is there is not made again."""
    for seed, arch in list(found.items())[:MOST]:
        path = folder / f"found_{seed}"
        if not path.with_suffix(".pdf").exists():
            save_figure(draw_architecture(space, arch), path)
