"""Drawing architectures with matplotlib alone: `draw_architecture`, and saving figures so that they can be rebuilt."""

from common.drawing.architecture import draw_architecture
from common.drawing.figures import save_figure, write_figure

__all__ = ["draw_architecture", "save_figure", "write_figure"]
