"""The command line of report pages, which both programs have."""

from __future__ import annotations

from pathlib import Path

from common.cli import OneLineParser


def page_command(prog: str, argv: list[str] | None = None) -> None:
    """Parses, writes the page, and says where it is. Raises InputError on bad input."""
    parser = OneLineParser(
        prog,
        "Write a report of finished runs, searches or retrainings of either command, as one HTML file that holds "
        "everything: settings, what was found, plots, tables, how to rebuild it. It opens without a network.",
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the page; default: report.html in the first folder")
    args = parser.parse_args(argv)

    from common.page import write_page

    print(f"written: {write_page(args.runs, args.out or args.runs[0] / 'report.html')}")
