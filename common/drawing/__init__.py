"""Drawing architectures with matplotlib alone: `draw_architecture`, and saving figures so that they can be rebuilt."""

from common.drawing.architecture import draw_architecture
from common.drawing.figures import save_figure, write_figure
from common.drawing.found import save_found
from common.drawing.front import draw_front

__all__ = ["draw_architecture", "draw_front", "save_figure", "save_found", "write_figure"]
