"""Reports of run folders as one self-contained HTML file: settings, what was found, plots, tables, how to rebuild it.

Everything is made from the files of the folders. Pictures are inside of the page, and nothing is asked of a network: no
scripts, fonts or styles from elsewhere.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from common.errors import InputError
from common.export.found import read_summary, sized_space
from common.inputs import read_bytes, read_json, read_records, read_yaml, short
from common.page.rebuild import rebuild_command
from common.runs import write_atomic

MOST_ROWS, MOST_DRAWN = 40, 4  # epochs in a table; architectures drawn
# Of a summary, what is shown in places of its own or is too long to read.
ELSEWHERE = ("runs", "mean", "std", "settings", "environment", "members", "paired", "n", "method")
# Shown of the runs of a summary, in this order, where they are there.
COLUMNS = {
    "seed": "seed", "found.test_acc": "found, %", "found.valid_acc": "validation, %", "found.rank": "rank",
    "found.regret": "regret", "kendall_tau": "Kendall tau", "spearman": "Spearman", "evaluations": "evaluations",
    "positives": "positives", "front.share": "hypervolume", "search_s": "search s", "found.arch": "architecture",
}  # fmt: skip
EPOCHS = {
    "epoch": "epoch", "loss": "loss", "train_acc": "training, %", "test_acc": "test, %", "lr": "rate", "train_s": "s",
}  # fmt: skip

STYLE = """
:root { color-scheme: light; --ink: #222; --faint: #666; --line: #ddd; --back: #fafafa; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); margin: 0 auto; max-width: 72rem; padding: 1rem; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 1rem 0 .25rem; }
h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; border-bottom: 1px solid var(--line); padding-bottom: .2rem; }
.faint { color: var(--faint); }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .75rem; margin: 1rem 0; }
.facts div { background: var(--back); border: 1px solid var(--line); border-radius: .4rem; padding: .5rem .75rem; }
.facts b { display: block; font-size: 1.25rem; font-variant-numeric: tabular-nums; }
figure { margin: 1rem 0; }
figure img { max-width: 100%; height: auto; display: block; margin: 0 auto; }
figcaption { color: var(--faint); font-size: .9rem; text-align: center; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:last-child, td:last-child { text-align: left; }
.keys th, .keys td { text-align: left; white-space: normal; overflow-wrap: anywhere; vertical-align: top; }
.keys th { font-weight: 600; max-width: 16rem; }
pre, code { font: .85rem/1.45 ui-monospace, monospace; }
pre { background: var(--back); border: 1px solid var(--line); border-radius: .4rem; padding: .75rem; overflow-x: auto; }
details summary { cursor: pointer; margin: .5rem 0; }
nav a { margin-right: 1rem; }
@media print { details { display: none; } }
"""


def write_page(folders: Sequence[Path], out: Path) -> Path:
    """Writes the page of one or several run folders. Raises InputError for a folder that is not of a finished run."""
    if not folders:
        raise InputError("no run folder was named")
    names = [folder.resolve().name for folder in folders]
    sections = [_section(folder, name) for folder, name in zip(folders, names, strict=True)]
    title = escape(names[0] if len(names) == 1 else f"{len(names)} runs")
    links = "".join(f'<a href="#{escape(name)}">{escape(name)}</a>' for name in names) if len(names) > 1 else ""
    page = (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{title}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n" + (f"<nav>{links}</nav>\n" if links else "")
    )
    page += "\n".join(sections) + "\n</body>\n</html>\n"
    write_atomic(out, lambda file: file.write(page.encode()))
    return out


def _section(folder: Path, name: str) -> str:
    try:
        return _made_section(folder, name)
    except InputError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise InputError(f"{folder}: a file in it is not what a run leaves ({short(error)})") from None


def _made_section(folder: Path, name: str) -> str:
    summary = read_summary(folder)
    config = _config(folder)
    parts = [
        f'<h1 id="{escape(name)}">{escape(_title(summary))}</h1>',
        f'<p class="faint">{escape(_about(summary))}</p>',
    ]
    parts += _facts(summary)
    parts += _drawings(summary)
    parts += [_figure(read_bytes(file), "png", file.stem.replace("_", " ")) for file in _plots(folder)]
    parts += _tables(folder, summary)
    parts += ["<h2>Settings</h2>", _keys(_flat(config))]
    parts += ["<h2>How to rebuild it</h2>", f"<pre>{escape(rebuild_command(folder, summary, config))}</pre>"]
    environment = summary.get("environment") or {}
    if environment:
        parts.append(_keys(environment.items()))
    rest = {key: value for key, value in summary.items() if key not in ELSEWHERE}
    parts.append(f"<details><summary>everything else in the summary</summary>{_keys(_flat(rest))}</details>")
    return "<section>\n" + "\n".join(parts) + "\n</section>"


def _title(summary: Mapping[str, Any]) -> str:
    where = summary.get("title") or summary.get("space") or ""
    return f"{summary['method']}: {where}, {summary.get('dataset') or summary.get('report') or ''}"


def _about(summary: Mapping[str, Any]) -> str:
    said = [
        f"{what} {summary[key]}" for key, what in (("evaluator", "judged by"), ("search", "search")) if summary.get(key)
    ]
    said += [f"{key} {value}" for key, value in (summary.get("limits") or {}).items()]
    count = summary.get("n")
    return ", ".join([*said, *([f"{count} seed{'s' * (count != 1)}"] if count else [])])


def _facts(summary: Mapping[str, Any]) -> list[str]:
    """The few numbers that a reader looks for."""
    facts: list[tuple[str, str]] = []
    mean, std, count = summary.get("mean") or {}, summary.get("std") or {}, summary.get("n") or 1
    for key, what, digits in (("test_acc", "found, %", 2), ("regret", "regret", 2), ("kendall_tau", "Kendall tau", 3)):
        if isinstance(mean.get(key), (int, float)):
            spread = f" ± {std[key]:.{digits}f}" if count > 1 and isinstance(std.get(key), (int, float)) else ""
            facts.append((what, f"{mean[key]:.{digits}f}{spread}"))
    if final := summary.get("final"):
        facts += [("test accuracy, %", f"{final['test_acc']:.2f}"), ("epochs", f"{summary['epochs']}")]
    for key, what in (("params", "parameters"), ("flops", "FLOPs"), ("n_pool", "architectures")):
        if isinstance(summary.get(key), (int, float)):
            facts.append((what, f"{summary[key]:,}"))
    return ['<div class="facts">' + "".join(f"<div>{escape(w)}<b>{escape(v)}</b></div>" for w, v in facts) + "</div>"]


def _drawings(summary: Mapping[str, Any]) -> list[str]:
    """What was found, drawn; nothing for a space that is not at hand or tables without architectures."""
    found = [(f"seed {run.get('seed')}", (run.get("found") or {}).get("arch")) for run in summary.get("runs") or []]
    if summary.get("method") == "retraining":
        found = [("", summary["arch"])]
    drawn: dict[str, list[str]] = {}
    for who, text in found:
        if text:
            drawn.setdefault(text, []).append(who)
    parts = []
    for text, seeds in list(drawn.items())[:MOST_DRAWN]:
        picture = _drawing(summary, text)
        if picture is not None:
            parts.append(_figure(picture, "svg+xml", f"{', '.join(filter(None, seeds))}: {text}".removeprefix(": ")))
    return ["<h2>Found</h2>", *parts] if parts else []


def _drawing(summary: Mapping[str, Any], text: str) -> bytes | None:
    import tempfile

    from common.drawing import draw_architecture, write_figure

    try:
        space = sized_space(str(summary.get("space")), {})
        figure = draw_architecture(space, space.parse(text))
    except InputError:
        return None
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "cell.svg"
        write_figure(figure, file)
        return file.read_bytes()


def _plots(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.glob("*.png")) if not file.stem.startswith(("found_", "cell"))]


def _figure(picture: bytes, kind: str, caption: str) -> str:
    data = base64.b64encode(picture).decode()
    text = escape(caption)
    return f'<figure><img alt="{text}" src="data:image/{kind};base64,{data}"><figcaption>{text}</figcaption></figure>'


def _tables(folder: Path, summary: Mapping[str, Any]) -> Iterator[str]:
    runs = summary.get("runs") or []
    rows = [dict(_flat(run)) for run in runs]
    if rows and (columns := {key: title for key, title in COLUMNS.items() if any(key in row for row in rows)}):
        yield "<h2>Seeds</h2>"
        yield _table(columns, rows)
    for run in runs:
        front = run.get("front") or {}
        if front.get("members"):
            yield f"<h2>Front of seed {run['seed']}</h2>"
            titles = {"cost": front["cost"], "value": "value", "report": "reported", "arch": "architecture"}
            there = {key: title for key, title in titles.items() if key in front["members"][0]}
            yield _table(there, front["members"])
    if isinstance(members := summary.get("members"), dict):
        yield "<h2>Searches</h2>"
        yield _table(*_compared(members))
    epochs = folder / "epochs.jsonl"
    if epochs.exists():
        lines = [*read_records(epochs)]
        yield "<h2>Epochs</h2>"
        step = -(-len(lines) // MOST_ROWS)
        yield _table(EPOCHS, [line for line in lines if line["epoch"] % step == 0 or line is lines[-1]])


def _compared(members: Mapping[str, Any]) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Of every search of a comparison: what it reports at the end of its budget, and regret."""
    rows = []
    for name, member in members.items():
        row: dict[str, Any] = {"name": name, "n": len(member.get("seeds", []))}
        for key in ("report", "regret"):
            means = (member.get(key) or {}).get("mean")
            row[key] = means[-1] if means else None
        rows.append(row)
    return {"n": "seeds", "report": "reported", "regret": "regret", "name": "search"}, rows


def _table(columns: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> str:
    head = "".join(f"<th>{escape(title)}</th>" for title in columns.values())
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(_text(row.get(key)))}</td>" for key in columns) + "</tr>\n" for row in rows
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table></div>'


def _keys(pairs: Iterable[tuple[str, Any]]) -> str:
    rows = "".join(f"<tr><th>{escape(str(key))}</th><td>{escape(_text(value))}</td></tr>\n" for key, value in pairs)
    return f'<table class="keys"><tbody>\n{rows}</tbody></table>'


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if math.isfinite(value) and value == int(value) else f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    text = str(value)
    return text if len(text) < 600 else f"{text[:600]} ..."


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        elif value not in ("", None, [], {}):
            yield f"{prefix}{key}", value


def _config(folder: Path) -> dict[str, Any]:
    for file, read in ((folder / "config.yaml", read_yaml), (folder / "config.json", read_json)):
        if file.exists():
            config = read(file)
            return config if isinstance(config, dict) else {}
    return {}
