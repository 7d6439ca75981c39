"""Report pages: one file that holds everything and asks for nothing, also in a browser."""

from __future__ import annotations

import html
import json
import re
import shlex
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import renas
import renas.cli
import renas.compare
import rminas
from common.errors import InputError
from common.page import write_page
from common.page.command import page_command
from renas.api import FREE

TEXT = "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_3x3~1|skip_connect~2|"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Links(HTMLParser):
    """What a page refers to, its ids, and whether every tag is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.references: list[str] = []
        self.ids: list[str] = []
        self.open: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
        self.references += [value for name, value in attrs if name in ("src", "href")]
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A search of each command, and a retraining's folder."""
    folder = tmp_path_factory.mktemp("runs")
    renas.run(
        search="pareto", predictor="gp", encoding="one_hot", budget=30, seeds=2, max_flops="100M", out=folder / "renas"
    )
    made = rminas.run(
        "nb201_digits", evaluator="params", strategy="evolution", max_evaluations=25, out_dir=str(folder), name="rminas"
    )
    trained = folder / "retrain"
    trained.mkdir()
    final = {"epoch": 2, "test_error": 10.0, "test_acc": 90.0}
    summary = {"method": "retraining", "space": "nasbench201", "dataset": "digits", "arch": TEXT, "epochs": 2}
    (trained / "summary.json").write_text(json.dumps({**summary, "final": final, "params": 1234567}))
    (trained / "config.yaml").write_text("TRAIN:\n  GENOTYPE: '<b>&amp;'\n")
    lines = [{"epoch": epoch, "loss": 1 / epoch, "train_acc": 50.0, "test_acc": 90.0} for epoch in (1, 2)]
    (trained / "epochs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return [folder / "renas", made.folder, trained]


def test_a_page_holds_everything_and_asks_for_nothing(runs: list[Path], tmp_path: Path) -> None:
    text = write_page(runs, tmp_path / "page.html").read_text()
    page = Links(text)
    assert not page.open
    assert "script" not in page.tags
    assert all(reference.startswith(("data:image/", "#")) for reference in page.references)
    assert {reference[1:] for reference in page.references if reference.startswith("#")} <= {*page.ids}
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org|matplotlib\.org|purl\.org|creativecommons)", text)
    assert text.count("data:image/svg+xml") >= 3  # what each has found
    assert text.count("data:image/png") >= 3  # search and front of renas, search of rminas
    assert "&lt;b&gt;&amp;amp;" in text  # settings are shown as they are
    assert "1,234,567" in text
    assert "<h2>Front of seed 1</h2>" in text
    assert "<td>90</td>" in text


def test_the_command_that_is_shown_makes_the_same_run_again(runs: list[Path], tmp_path: Path) -> None:
    text = write_page(runs[:1], tmp_path / "page.html").read_text()
    shown = html.unescape(re.findall(r"<pre>python -m renas (.*?)</pre>", text)[0])
    words = shlex.split(shown)
    words[words.index("--out") + 1] = str(tmp_path / "again")
    renas.cli.main(words)
    first, again = (json.loads((folder / "config.json").read_text()) for folder in (runs[0], tmp_path / "again"))
    assert {k: v for k, v in first.items() if k not in FREE} == {k: v for k, v in again.items() if k not in FREE}
    found = [json.loads((f / "summary.json").read_text())["runs"][1]["found"] for f in (runs[0], tmp_path / "again")]
    assert found[0] == found[1]


def test_a_comparison_is_made_again_with_the_settings_of_its_members(tmp_path: Path) -> None:
    settings = {"local": {"initial": 5}, "active": {"batch": 10}, "boosting": {"max_iter": 20}}
    first = renas.compare.run(
        strategies=("random", "local", "active"), predictors=("boosting",), settings=settings, budget=25, seed=3,
        seeds=1, jobs=1, max_flops="60M", out=tmp_path / "first",
    )  # fmt: skip
    text = write_page([first.folder], tmp_path / "page.html").read_text()
    assert "<td>active boosting</td>" in text
    words = shlex.split(html.unescape(re.findall(r"<pre>python -m renas.compare (.*?)</pre>", text)[0]))
    words[words.index("--out") + 1] = str(tmp_path / "again")
    renas.compare.main(words)
    configs = [json.loads((tmp_path / name / "config.json").read_text()) for name in ("first", "again")]
    assert configs[0]["members"] == configs[1]["members"]
    records = [(tmp_path / name / "evaluations.jsonl").read_text().splitlines() for name in ("first", "again")]
    assert [json.loads(line)["rows"] for line in records[0]] == [json.loads(line)["rows"] for line in records[1]]


def test_report_folders_show_what_was_found(runs: list[Path]) -> None:
    assert {file.name for file in runs[0].glob("found_*")} == {
        f"found_{s}.{form}" for s in (0, 1) for form in ("png", "pdf")
    }
    assert (runs[0] / "front.png").exists()
    assert (runs[1] / "found_0.png").exists()


def test_folders_of_no_run_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not the folder of a finished run"):
        page_command("report", [str(tmp_path)])


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [500, 1400])
def test_a_browser_opens_it_without_a_network_and_nothing_is_too_wide(
    width: int, runs: list[Path], tmp_path: Path
) -> None:
    assert CHROMIUM is not None
    page = write_page(runs, tmp_path / "page.html")
    probe = tmp_path / "probe.html"  # the page, and a line of its own that measures it
    script = (
        "<script>document.title = [document.documentElement.scrollWidth <= window.innerWidth, "
        "[...document.images].every(i => i.complete && i.naturalWidth > 0), document.images.length].join()</script>"
    )
    probe.write_text(page.read_text().replace("</body>", f"{script}</body>"))
    flags = [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update", "--host-resolver-rules=MAP * ~NOTFOUND",
        f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},1200", "--virtual-time-budget=2000",
    ]  # fmt: skip
    done = subprocess.run(
        [CHROMIUM, *flags, "--dump-dom", probe.as_uri()], capture_output=True, text=True, timeout=90, check=False
    )
    title = re.findall(r"<title>(.*?)</title>", done.stdout)
    assert title, done.stderr[-500:]
    fits, loaded, count = title[0].split(",")
    assert (fits, loaded) == ("true", "true")
    assert int(count) >= 6
