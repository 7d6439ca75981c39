"""A space as somebody might make it for themselves: positions with several numbers of choices, an own network."""

from __future__ import annotations

from torch import Tensor, nn

from common.spaces import CategoricalSpace

KERNELS = {"conv3": 3, "conv5": 5, "depthwise": 3}


class Net(nn.Module):
    """Three stages, the second and third of half the size."""

    def __init__(self, arch: dict[str, str | int], num_classes: int) -> None:
        super().__init__()
        width = int(arch["width"])
        self.stem = nn.Sequential(nn.Conv2d(3, width, 1), nn.BatchNorm2d(width))
        self.stages = nn.ModuleList()
        for number in (1, 2, 3):
            op = str(arch[f"stage{number}"])
            layers: list[nn.Module] = [nn.MaxPool2d(2)] if number > 1 else []
            if op in KERNELS:
                kernel, groups = KERNELS[op], width if op == "depthwise" else 1
                layers += [nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=groups), nn.BatchNorm2d(width)]
            self.stages.append(nn.Sequential(*layers, {"relu": nn.ReLU, "gelu": nn.GELU}[str(arch["act"])]()))
        self.classifier = nn.Linear(width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return self.classifier(x.mean((2, 3)))


OPS = ["conv3", "conv5", "depthwise", "skip"]
SPACE = CategoricalSpace.from_choices(
    {"width": [4, 6, 8, 10, 12], "stage1": OPS[:3], "stage2": OPS, "stage3": OPS, "act": ["relu", "gelu"]},
    name="own",
    title="A space of one's own",
    build=Net,
    taps=("stages.0", "stages.1", "stages.2"),
)
