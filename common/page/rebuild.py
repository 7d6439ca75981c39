"""The command that makes a run again, from the settings in its folder."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

AGAIN = "runs/again"


def rebuild_command(folder: Path, summary: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """The command line; runs of ours that have a YAML file are told by it, the others by flags."""
    if (folder / "config.yaml").exists():
        program = "rminas.retrain" if summary.get("method") == "retraining" else "rminas"
        words = ["--cfg", str(folder / "config.yaml"), "--out", AGAIN]
        if evaluators := summary.get("evaluators"):
            words += ["--rank", str(summary["runs"][0]["n"]), "--evaluators", ",".join(evaluators)]
    else:
        program = "renas.compare" if summary.get("method") == "comparison" else "renas"
        told = _compared if program == "renas.compare" else _searched
        words = [*_data(config), *told(summary, config), "--out", AGAIN]
    return f"python -m {program} {shlex.join(words)}"


def _data(config: Mapping[str, Any]) -> Iterator[str]:
    """What both programs of ReNAS are told of data and protocol."""
    flags = {key: config.get(key) for key in ("data_path", "dataset", "protocol", "label", "report", "budget")}
    for key, value in {**flags, **(config.get("limits") or {})}.items():
        if value not in (None, ""):
            yield from (f"--{key}", str(value))


def _searched(summary: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[str]:
    runs, predictor = summary["runs"], config.get("predictor") or {}
    flags = {"search": config.get("search"), "train_num": config.get("n_train"), "count": config.get("count")}
    flags |= {"predictor": predictor.get("name"), "encoding": predictor.get("encoding")}
    for key, value in {**flags, "seed": runs[0]["seed"], "seeds": len(runs)}.items():
        if value is not None:
            yield from (f"--{key}", str(value))
    yield from _settings("predictor", predictor)
    owner = "ea" if config.get("search") == "ea" else "strategy"
    yield from _settings(owner, {"settings": config.get("search_settings")})


def _compared(summary: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[str]:
    members = config.get("members") or {}
    strategies = dict.fromkeys(name.split()[0] for name in members)
    predictors = dict.fromkeys(m["predictor"]["name"] for name, m in members.items() if len(name.split()) > 1)
    counts = {member["count"] for member in members.values() if "count" in member}
    first, *_ = summary["members"].values()
    seeds = first["seeds"]
    yield from ("--strategies", ",".join(strategies), "--seed", str(seeds[0]), "--seeds", str(len(seeds)))
    if predictors:
        yield from ("--predictors", ",".join(predictors))
    for count in counts:
        yield from ("--count", str(count))
    told: dict[str, str] = {}
    for name, member in members.items():
        for owner, made in ((name.split()[0], member), (name.split()[-1], member.get("predictor") or {})):
            if owner != "renas":  # as published
                words = [*_settings(owner, made)]
                told |= dict(zip(words[::2], words[1::2], strict=True))
    for key, value in told.items():
        yield from (key, value)


def _settings(owner: str, made: Mapping[str, Any]) -> Iterator[str]:
    for key, value in (made.get("settings") or {}).items():
        yield from (f"{owner}.{key}", str(value))
