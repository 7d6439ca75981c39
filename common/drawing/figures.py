"""Figures that no window needs, and writing them: the same figure is the same file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.errors import InputError
from common.runs import write_atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMS: dict[str, dict[str, Any]] = {
    "png": {"dpi": 200},
    "pdf": {"metadata": {"CreationDate": None}},
    "svg": {"metadata": {"Date": None}},
}


def new_figure(width: float, height: float, layout: Any = None) -> Figure:
    """A figure of so many inches, drawn without a screen."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def write_figure(figure: Figure, path: Path, **options: Any) -> None:
    """Writes a figure in the format of the file's name, png, pdf or svg. Raises InputError for another."""
    import matplotlib

    form = path.suffix[1:].lower()
    if form not in FORMS:
        raise InputError(f"{path}: figures are written as {', '.join(FORMS)}")
    with matplotlib.rc_context({"svg.hashsalt": "nas", "svg.fonttype": "none", "pdf.fonttype": 42}):
        write_atomic(path, lambda file: figure.savefig(file, format=form, **{**FORMS[form], **options}))


def save_figure(figure: Figure, path: Path) -> None:
    """`path` with .png and with .pdf, for a run folder."""
    write_figure(figure, path.with_suffix(".png"), dpi=120)
    figure.set_layout_engine("none")  # it has been laid out
    write_figure(figure, path.with_suffix(".pdf"))
