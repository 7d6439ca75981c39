"""Training a teacher of one's own, and testing one: `python -m rminas.teacher`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.cli import OneLineParser, run_command, whole_number
from common.devices import DEVICES
from common.errors import InputError
from common.progress import ProgressBar
from common.runs.config import LAST_SEED

if TYPE_CHECKING:
    import torch

    from common.datasets.images import ImageSet
    from common.networks.base import TappedNetwork
    from common.training.classifier import ClassifierSettings

PROG = "python -m rminas.teacher"


def make_parser() -> OneLineParser:
    parser = OneLineParser(
        PROG,
        "Train a teacher for RMI-NAS on a data set (a killed training goes on with the same command), or test one that "
        "is there with --weights. Prints its accuracy as a teacher, and with batch statistics as published.",
    )
    add = parser.add_argument
    add("--teacher", default="resnet20", help="resnet20, resnet101 or nasbench201")
    add("--dataset", default="digits", help="a data set by name, my_module:MY_SET, or a name for your own --data_path")
    add("--data_path", metavar="PATH", help="the images: .npz or folder; without it CIFAR is downloaded")
    add("--out", type=Path, metavar="FILE", help="weights to write; default: teachers/<teacher>_<dataset>_s<seed>.pt")
    add("--weights", type=Path, metavar="FILE", help="train nothing, test these weights")
    group = parser.add_argument_group("training; where nothing is said, the recipe of the data set holds")
    group.add_argument("--epochs", type=whole_number(0, 10**5), metavar="N", help="200; digits 10")
    group.add_argument("--batch_size", type=whole_number(2, 10**6), metavar="N", help="128; digits 64, imagenet16 256")
    group.add_argument("--lr", type=float, help="highest learning rate of the cosine: 0.1; digits 0.05")
    group.add_argument("--weight_decay", type=float, help="5e-4")
    group.add_argument("--warmup_epochs", type=whole_number(0, 10**5), metavar="N", help="0; cifar100 1")
    group.add_argument("--bf16", action="store_true", default=None, help="bfloat16 autocast, for GPUs")
    add("--seed", type=whole_number(0, LAST_SEED), default=0, help="decides initial weights, order and augmentation")
    add("--device", choices=DEVICES, default="auto", help="where to compute")
    return parser


def main(argv: list[str] | None = None) -> None:
    """Parses, trains or loads, prints the accuracy. Raises InputError on bad input."""
    args = make_parser().parse_args(argv)

    from common.datasets.images import load_images
    from common.devices import pick_device
    from common.networks.teachers import load_teacher
    from common.training.classifier import evaluate

    device = pick_device(args.device)
    images = load_images(args.dataset, args.data_path)
    path = args.weights or args.out or Path("teachers") / f"{args.teacher}_{images.name}_s{args.seed}.pt"
    if args.weights:
        network = load_teacher(args.teacher, path, images.num_classes, device)
    else:
        given = ("epochs", "batch_size", "lr", "weight_decay", "warmup_epochs", "bf16")
        settings = recipe(args.dataset, **{key: getattr(args, key) for key in given if getattr(args, key) is not None})
        with ProgressBar(settings.epochs, unit="epoch", leave=False) as bar:
            network = train_teacher(args.teacher, images, settings, args.seed, device, path, epochs_on(bar))
    eval_acc, batch_acc = (evaluate(network, images, device, mode) for mode in ("eval", "train"))
    print(
        f"{path}: {args.teacher} on {len(images.y_test):,} test images of {images.name}: "
        f"{eval_acc:.2f} % (with batch statistics {batch_acc:.2f} %)"
    )


def epochs_on(bar: ProgressBar) -> Callable[[int, float, float], None]:
    """An `on_epoch` that shows a bar's epochs, with loss and training accuracy."""
    return lambda epoch, loss, acc: bar.show(epoch, f"loss {loss:.3f}, training accuracy {acc:.1f} %", before=epoch - 1)


def recipe(dataset: str, **changes: Any) -> ClassifierSettings:
    """The settings for a data set, with some of them changed. Raises InputError for values that make no sense."""
    from common.datasets import data_set
    from common.training.classifier import ClassifierSettings

    settings = ClassifierSettings(**{**data_set(dataset).teacher_recipe, **changes})
    for name, least in (("epochs", 1), ("batch_size", 2), ("weight_decay", 0), ("warmup_epochs", 0)):
        if getattr(settings, name) < least:
            raise InputError(f"--{name} {getattr(settings, name)}: must be at least {least}")
    if settings.lr <= 0:
        raise InputError(f"--lr {settings.lr}: must be above 0")
    if settings.warmup_epochs >= settings.epochs:
        raise InputError(f"--warmup_epochs {settings.warmup_epochs}: must be less than the {settings.epochs} epochs")
    return settings


def train_teacher(
    name: str,
    images: ImageSet,
    settings: ClassifierSettings,
    seed: int,
    device: torch.device | str,
    out: Path,
    on_epoch: Callable[[int, float, float], object] = lambda epoch, loss, acc: None,
    taps: Sequence[str] = (),
) -> TappedNetwork:
    """A trained teacher as `load_teacher` returns it, from `out` where the same training has already written it there.

    Beside `out` the training keeps `<out>.resume`, from which it goes on when it was killed.
    Args: name, taps: see `build_teacher`.
    Raises: InputError when `out` is something else than the result of the same training, or another process trains it.
    """
    from common.networks.teachers import load_teacher
    from common.runs.lock import lock_file

    lock = lock_file(out, "--out")
    try:
        _train_once(name, images, settings, seed, device, out, on_epoch, taps)
    finally:
        if lock is not None:
            lock.release()
    return load_teacher(name, out, images.num_classes, device, taps)


def _train_once(
    name: str,
    images: ImageSet,
    settings: ClassifierSettings,
    seed: int,
    device: torch.device | str,
    out: Path,
    on_epoch: Callable[[int, float, float], object],
    taps: Sequence[str],
) -> None:
    import torch

    from common.networks.checkpoints import read_checkpoint
    from common.networks.teachers import build_teacher
    from common.runs import write_atomic
    from common.seeds import named_rngs, torch_seeded
    from common.training.classifier import check_same, evaluate, train_classifier

    about = {"teacher": name, "seed": seed, "images": images.sha256, **asdict(settings)}
    if out.exists() or out.is_symlink():  # one to nowhere is not for us to replace
        check_same(out, read_checkpoint(out), about)
    else:
        rngs = named_rngs(seed, "weights", "training")
        with torch_seeded(rngs["weights"]):
            network = build_teacher(name, images.num_classes, taps)
        resume = out.with_name(out.name + ".resume")
        history = train_classifier(network, images, settings, rngs["training"], device, resume, on_epoch)
        stored = {
            **about,
            "dataset": images.name,
            "test_acc": evaluate(network, images, device),
            "history": asdict(history),
            "state_dict": {key: value.cpu() for key, value in network.state_dict().items()},
        }
        write_atomic(out, lambda file: torch.save(stored, file))
    out.with_name(out.name + ".resume").unlink(missing_ok=True)  # of a process that was killed just before it, too


if __name__ == "__main__":
    run_command(PROG, main)
