"""Writing what was found as a network of its own, or drawing it: `python -m rminas.export`."""

from __future__ import annotations

from pathlib import Path

from common.cli import OneLineParser, run_command

PROG = "python -m rminas.export"
SIZES = ("num_classes", "image_size", "channels", "layers", "cells_per_stage")


def make_parser() -> OneLineParser:
    parser = OneLineParser(
        PROG,
        "Write what a search (of rminas or renas) or a retraining has found: net.py (source that needs torch alone), "
        "net.pt2 (torch.export), net.onnx, or a drawing cell.svg, .png, .pdf. After a retraining with its weights.",
    )
    add = parser.add_argument
    add("found", help="run folder; or a search space, followed by the text of an architecture")
    add("arch", nargs="?", default="", help="the architecture, where no run folder is given")
    add("--to", type=Path, required=True, nargs="+", metavar="FILE", help="what to write, by its ending")
    add("--run_seed", type=int, metavar="N", help="which of a search's runs; needed if it has several")
    add("--space", default="", metavar="SPACE", help="the space, where it is your own (my_module:SPACE) and the folder "
        "is of renas")  # fmt: skip
    for size in SIZES:
        add(f"--{size}", type=int, default=0, metavar="N", help="of the network; default: of the images that were "
            "searched on, and as published")  # fmt: skip
    return parser


def main(argv: list[str] | None = None) -> None:
    """Parses, writes, and says what was written. Raises InputError on bad input."""
    args = make_parser().parse_args(argv)

    from common.export import export, read_found

    sizes = {size: getattr(args, size) for size in SIZES}
    found = read_found(args.found, args.arch, args.run_seed, args.space, sizes)
    print(f"{found.space.title}: {found.text}")
    for path in args.to:
        for written in export(found, path):
            print(f"written: {written}")
    if not found.weights:
        print("weights: none were trained (python -m rminas.retrain does)")


if __name__ == "__main__":
    run_command(PROG, main)
