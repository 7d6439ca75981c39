"""What is fixed about an image data set, known without any of its files."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ImageSpec:
    """The facts of an image data set that shape the network around a searched cell."""

    title: str
    num_classes: int
    image_size: int  # pixels along a side


IMAGE_SPECS = {
    "cifar10": ImageSpec("CIFAR-10", num_classes=10, image_size=32),
    "cifar100": ImageSpec("CIFAR-100", num_classes=100, image_size=32),
    "imagenet16_120": ImageSpec("ImageNet16-120", num_classes=120, image_size=16),
    "imagenet": ImageSpec("ImageNet", num_classes=1000, image_size=224),
    "digits": ImageSpec("scikit-learn digits", num_classes=10, image_size=8),
}
