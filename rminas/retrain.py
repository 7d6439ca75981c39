"""Training what was found to the end with a published recipe: `python -m rminas.retrain`."""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from common.cli import OneLineParser, run_command
from common.errors import InputError
from common.export.found import Found, chosen_run, read_summary, sized_space
from common.inputs import read_text
from common.progress import ProgressBar
from common.registry import file_name
from common.runs.config import describe, nested, pairs
from common.spaces import make_space
from rminas.config import find_config
from rminas.retrain_config import RetrainConfig, read_retrain_config

if TYPE_CHECKING:
    from torch import nn

    from common.datasets.images import ImageSet
    from common.runs import RunFolder
    from common.spaces import SearchSpace
    from common.training.processes import Processes
    from common.training.retraining import RetrainSettings

PROG = "python -m rminas.retrain"
CONFIG_FILE, INPUTS_FILE, SUMMARY_FILE = "config.yaml", "inputs.json", "summary.json"
EPOCHS_FILE, CHECKPOINT_FILE, CURVE_FILE = "epochs.jsonl", "checkpoint.pt", "learning_curve.png"
FREE = ("NAME", "OUT_DIR", "DEVICE", "TRACKER")  # what another start of the same run may change
FLAGS = {"arch": "TRAIN.GENOTYPE", "device": "DEVICE", "seed": "RNG_SEED", "out": "OUT_DIR"}
CELL = "cell"  # its drawing
CURVE_EVERY_S = 60.0  # drawing takes half a second
# Most errors are found by every process. The first to end is the one that is heard, since torchrun then stops the
# others; these wait so long, and speak if the error was theirs alone.
HOLD_S = 10.0


def make_parser() -> argparse.ArgumentParser:
    parser = OneLineParser(
        PROG,
        "Train the network of an architecture of any space to the end, tell its test error and leave it as source with "
        "its weights. The same command goes on where a killed run stopped, and prints the report of a finished one. "
        "Several GPUs: torchrun --nproc_per_node N -m "
        "rminas.retrain ...; a step is then on N x TRAIN.BATCH_SIZE images, and OPTIM.BASE_LR is taken as it is.",
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = "keys of the config file and of KEY VALUE:\n" + describe(RetrainConfig)
    add = parser.add_argument
    add(
        "--cfg",
        metavar="YAML",
        help="config file, or the name of one that ships; default: the published recipe",
    )
    add("--arch", "--genotype", dest="arch", metavar="A", help="the architecture's text, a text file with it, or the "
        "run folder of a finished search, of rminas or renas")  # fmt: skip
    add("--run_seed", type=int, metavar="N", help="which of that search's runs, by its seed; needed if it has several")
    for flag in ("device", "seed", "out"):
        add(f"--{flag}", metavar="X", help=f"the same as {FLAGS[flag]} X")
    add("settings", nargs="*", metavar="KEY VALUE", help="settings that override the file's")
    return parser


def main(argv: list[str] | None = None) -> None:
    """Parses, trains what is missing, writes the run folder and prints the report. Raises InputError on bad input."""
    args = make_parser().parse_intermixed_args(argv)
    speaks = os.environ.get("LOCAL_RANK", "0") == "0"
    try:
        flags = [(name, value) for flag, name in FLAGS.items() if (value := getattr(args, flag)) is not None]
        file = find_config(args.cfg, retraining=True) if args.cfg else None
        config, notes = read_retrain_config(file, [*flags, *pairs(args.settings)])
        for note in notes if speaks else []:
            print(f"note: {note}")
        text = read_genotype(config.train.genotype, args.run_seed)

        from common.training.processes import join_processes

        with join_processes(config.device) as processes:
            stem = file.stem if file else f"{file_name(config.space.name)}_{config.data.name}"
            report = _retrain(config, stem, text, processes)
            if processes.rank == 0:
                print(report)
    except InputError:
        if not speaks:
            time.sleep(HOLD_S)
        raise


def read_genotype(given: str, run_seed: int | None = None) -> str:
    """The text of an architecture: itself, or what a text file or the folder of a finished search holds.

    Raises: InputError when there is none, or several and `run_seed` names none of them.
    """
    if not given:
        raise InputError(
            "TRAIN.GENOTYPE is empty: give --arch with the architecture's text, a text file, or a search's run folder"
        )
    path = None if "(" in given or not _exists(given) else Path(given).expanduser()
    if run_seed is not None and (path is None or not path.is_dir()):
        raise InputError(f"--run_seed {run_seed}: only with a run folder as --genotype")
    if path is None:
        return given
    if path.is_dir():
        return chosen_run(path, read_summary(path), run_seed)[1]
    return read_text(path, 1 << 20).strip()


def _exists(given: str) -> bool:
    try:
        return Path(given).expanduser().exists()
    except OSError:  # far too long for a name
        return False


def _parsed(space: SearchSpace, text: str, given: str) -> Any:
    """The architecture. Raises InputError, for the name of a file that is not there too."""
    try:
        return space.parse(text)
    except InputError as error:
        if "(" in given or _exists(given):
            raise
        raise InputError(f"--arch {given}: neither a file or folder that exists nor an architecture: {error}") from None


def _retrain(config: RetrainConfig, stem: str, text: str, processes: Processes) -> str:
    """Trains what is missing; the report. In every process, of which the first alone reports what was trained."""
    from common.runs import RunFolder

    arch = _parsed(make_space(config.space.name), text, config.train.genotype)  # before images are asked for
    with processes.first_alone():  # it may download them
        images = _load_images(config)
    space = make_network_space(config, images)
    config = replace(config, train=replace(config.train, genotype=space.format(arch)))
    path = Path(config.out_dir).expanduser() / (config.name or stem)
    with processes.first_alone():
        first = processes.rank == 0  # the others find it in use by the first
        folder = RunFolder.open(path, nested(config), CONFIG_FILE, FREE, setting="OUT_DIR or NAME", alone=first)
        inputs = {"images_sha256": images.sha256, "processes": processes.count}
        folder.pin(INPUTS_FILE, inputs, setting="OUT_DIR or NAME")
    with folder:
        return _retrain_in(folder, config, space, arch, images, processes)


def _retrain_in(
    folder: RunFolder, config: RetrainConfig, space: SearchSpace, arch: Any, images: ImageSet, processes: Processes
) -> str:
    from common.seeds import named_rngs, torch_seeded
    from common.training.retraining import retrain

    path = folder.path
    if (path / SUMMARY_FILE).exists():
        try:
            return terminal_report(read_summary(path), path)
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{path / SUMMARY_FILE} is no summary of a retraining; remove it") from None
    with processes.first_alone():  # it may train it
        teacher = _load_teacher(config, path, processes)

    settings = settings_of(config, processes.device.type)
    rngs = named_rngs(config.rng_seed, "weights", "training")
    with torch_seeded(rngs["weights"]):
        network = build_network(space, arch, auxiliary=settings.auxiliary_weight > 0)
    if processes.rank == 0:
        folder.track(config.tracker)
    with _Run(folder, settings.epochs, active=processes.rank == 0) as run:
        records = retrain(
            network, images, settings, rngs["training"], processes, path / CHECKPOINT_FILE, run.step, run.epoch, teacher
        )
        run.finish(records)
    summary = summarize(config, settings, space, arch, images, processes, records)
    if processes.rank == 0:
        from common.drawing import draw_architecture, save_figure

        summary["network"] |= {"files": write_network(Found(space, arch, network.state_dict(), str(path)), path)}
        save_figure(draw_architecture(space, arch), path / CELL)
        folder.write_summary(summary)
        return terminal_report(summary, path)
    return ""  # the first process has written the files, and speaks


def make_network_space(config: RetrainConfig, images: ImageSet) -> SearchSpace:
    """The space with networks for the images. Raises InputError for channels or cells that it cannot be told."""
    train = config.train
    options = {
        "channels": train.channels, "layers": train.layers, "cells_per_stage": config.space.cells_per_stage
    }  # fmt: skip
    asked = {option: size for option, size in options.items() if size}
    return sized_space(config.space.name, {"num_classes": images.num_classes, "image_size": images.image_size} | asked)


def _load_teacher(config: RetrainConfig, path: Path, processes: Processes) -> nn.Module | None:
    """Whose word counts beside the images' classes; None where it does not."""
    if not config.train.distill:
        return None
    from common.networks.base import in_mode
    from rminas.inputs import Inputs

    inputs = Inputs(config.data, config.teacher, processes.device, path)
    return in_mode(inputs.load_teacher().to(processes.device), config.teacher.mode)


def write_network(found: Found, folder: Path) -> list[str]:
    """The trained network as source, or as a program where it cannot be written so; the names of the files."""
    from common.export import export

    try:
        written = export(found, folder / "network.py")
    except InputError:
        written = export(found, folder / "network.pt2")
    return [file.name for file in written]


def _load_images(config: RetrainConfig) -> ImageSet:
    from rminas.inputs import load_data

    images = load_data(config.data)
    if config.train.cutout > images.image_size:
        raise InputError(
            f"TRAIN.CUTOUT is {config.train.cutout}, which leaves nothing of images {images.image_size} pixels wide"
        )
    return images


def settings_of(config: RetrainConfig, device_type: str) -> RetrainSettings:
    """The settings of the training loop, for a device of type cpu or cuda."""
    from common.training.retraining import RetrainSettings

    optim, train = config.optim, config.train
    return RetrainSettings(
        epochs=optim.max_epoch,
        batch_size=train.batch_size,
        lr=optim.base_lr,
        momentum=optim.momentum,
        weight_decay=optim.weight_decay,
        warmup_epochs=optim.warmup_epoch,
        bf16=train.precision == "bf16" or (train.precision == "auto" and device_type == "cuda"),
        clip=optim.grad_clip,
        label_smoothing=train.label_smooth,
        cutout=train.cutout,
        drop_path=train.drop_path_prob,
        auxiliary_weight=train.aux_weight,
        channels_last=train.channels_last,
        test_every=train.eval_period,
        distill=train.distill,
        temperature=train.temperature,
    )


def build_network(space: SearchSpace, arch: Any, auxiliary: bool) -> nn.Module:
    """auxiliary: with DARTS' second classifier."""
    from common.networks import build_plain
    from common.networks.darts import DartsNetwork
    from common.spaces.darts import Darts

    if not auxiliary:
        return build_plain(space, arch)
    assert isinstance(space, Darts)  # the settings have been checked
    return DartsNetwork(arch, space.channels, space.layers, space.num_classes, space.imagenet_stem, auxiliary)


def summarize(
    config: RetrainConfig,
    settings: RetrainSettings,
    space: SearchSpace,
    arch: Any,
    images: ImageSet,
    processes: Processes,
    records: list[dict[str, Any]],
) -> dict[str, Any]:
    """What is reported of a finished training. Parameters and FLOPs are without the auxiliary head."""
    from common.devices import device_title
    from common.runs import environment

    flops, params = space.total_costs(space.to_codes([arch]))
    tested = [record for record in records if record["test_error"] is not None]

    def result(record: dict[str, Any]) -> dict[str, Any]:
        return {key: record[key] for key in ("epoch", "test_error", "test_acc")}

    return {
        "method": "retraining",
        "space": config.space.name,
        "title": space.title,
        "dataset": images.name,
        "arch": space.format(arch),
        "network": {
            name: getattr(space, name)
            for name in ("num_classes", "image_size", *space.network_options)
            if hasattr(space, name)
        },
        "params": int(params[0]),
        "flops": int(flops[0]),
        "seed": config.rng_seed,
        "epochs": len(records),
        "final": result(tested[-1]),
        "best": result(min(tested, key=lambda record: record["test_error"])),
        "distill": settings.distill,
        "train_s": sum(record["train_s"] for record in records),
        "test_s": sum(record["test_s"] for record in records),
        "processes": processes.count,
        "images_per_step": processes.count * settings.batch_size,
        "precision": "bf16" if settings.bf16 else "float32",
        "images": {"source": images.source, "sha256": images.sha256},
        "environment": environment(device_title(processes.device)),
    }


def terminal_report(summary: dict[str, Any], folder: Path) -> str:
    """The report of a finished training for people, made from its summary."""
    final, best = summary["final"], summary["best"]
    sizes = [f"{name} {size}" for name, size in summary["network"].items() if name != "files"]
    return "\n".join(
        [
            f"{summary['title']} on {summary['dataset']}: images from {summary['images']['source']}",
            summary["arch"],
            f"{', '.join(sizes)}: {summary['params']:,} parameters, {summary['flops']:,} FLOPs",
            f"{summary['epochs']} epochs, {summary['images_per_step']} images a step, {summary['precision']}: "
            f"{summary['train_s']:.0f} s of training and {summary['test_s']:.0f} s of testing "
            f"on {summary['processes']} x {summary['environment']['device']}",
            f"lowest test error {best['test_error']:.2f} % after epoch {best['epoch']} (chosen on the test images)",
            f"files: {folder}, the network in {' and '.join(summary['network']['files'])}",
            f"test error after the last epoch: {final['test_error']:.2f} %",
        ]
    )


def write_curve(records: list[dict[str, Any]], path: Path) -> None:
    """`learning_curve.png`: loss, and error on training and test images, by epoch."""
    from common.drawing import write_figure
    from common.drawing.figures import new_figure

    figure = new_figure(11, 4.5, "constrained")
    left, right = figure.subplots(1, 2)
    epochs = [record["epoch"] for record in records]
    tested = [record for record in records if record["test_error"] is not None]
    marker = "." if len(records) <= 30 else None
    left.plot(epochs, [record["loss"] for record in records], marker=marker)
    left.set(xlabel="epoch", ylabel="training loss, auxiliary head included")
    train_error = [100 - record["train_acc"] for record in records]
    right.plot(epochs, train_error, marker=marker, label="training images, augmented")
    if tested:
        error = [record["test_error"] for record in tested]
        line = f"test images: {error[-1]:.2f} %, lowest {min(error):.2f} %"
        right.plot([record["epoch"] for record in tested], error, marker=marker, label=line)
    right.set(xlabel="epoch", ylabel="error (%)")
    right.legend()
    write_figure(figure, path, dpi=120)


class _Run:
    """What is seen of a training while it runs: a bar, the records and the curve; nothing unless `active`."""

    def __init__(self, folder: RunFolder, epochs: int, active: bool) -> None:
        self.folder, self.epochs, self.active = folder, epochs, active
        self.bar = ProgressBar(0, "retraining", "step")
        self.said = ""
        self.tracked = 0  # epochs that the trackers have been shown
        self.drawn_s = time.monotonic()

    def __enter__(self) -> _Run:
        return self

    def step(self, done: int, total: int) -> None:
        if self.active:
            self.folder.check_place()  # a checkpoint would begin another folder in the place of a moved one
            self.bar.show(done, self.said, total, before=done - 1)

    def epoch(self, records: list[dict[str, Any]]) -> None:
        if not self.active:
            return
        # The whole file: after a kill, it may hold epochs that are not in the checkpoint and now come again.
        self._write_records(records)
        self._track(records)
        if time.monotonic() - self.drawn_s > CURVE_EVERY_S:
            write_curve(records, self.folder.path / CURVE_FILE)
            self.drawn_s = time.monotonic()
        errors = [record["test_error"] for record in records if record["test_error"] is not None]
        self.said = f"epoch {len(records)}/{self.epochs}, loss {records[-1]['loss']:.3f}"
        if errors:
            self.said += f", test error {errors[-1]:.2f} % (lowest {min(errors):.2f})"

    def finish(self, records: list[dict[str, Any]]) -> None:
        if self.active:
            self._write_records(records)
            self._track(records)
            write_curve(records, self.folder.path / CURVE_FILE)

    def _track(self, records: list[dict[str, Any]]) -> None:
        for tracker in self.folder.trackers:
            for record in records[self.tracked :]:
                tracker.add(record)
        self.tracked = len(records)

    def _write_records(self, records: list[dict[str, Any]]) -> None:
        from common.runs import write_atomic

        lines = "".join(json.dumps(record) + "\n" for record in records)
        write_atomic(self.folder.path / EPOCHS_FILE, lambda file: file.write(lines.encode()))

    def __exit__(self, *_: object) -> None:
        self.bar.close()


if __name__ == "__main__":
    run_command(PROG, main)
