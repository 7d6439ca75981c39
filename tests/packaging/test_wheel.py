"""The wheel, installed into an environment of its own, away from the clone: nothing of the clone is needed there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of programs of a fresh environment with our wheel; what it depends on is seen in this environment."""
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"
    tree.mkdir()
    for part in ("common", "renas", "rminas", "configs"):  # a copy, because building writes into the tree
        shutil.copytree(ROOT / part, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("pyproject.toml", "setup.py", "relativistic_nas.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / part, tree)
    run([sys.executable, "-m", "pip", "wheel", "-q", ".", "--no-deps", "--no-build-isolation", "-w", str(folder)], tree)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", with_pip=False)
    programs = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
    python = str(programs / "python")
    run([sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", str(wheel)], folder)
    # Packages of this environment after its own, by a path: not by .pth files, so that no editable clone comes with it.
    site = run([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], folder).strip()
    (Path(site) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    shutil.rmtree(tree)
    return programs


def run(command: list[str], folder: Path) -> str:
    """What a command prints, started in `folder` without any Python setting of this process."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_packages_are_the_installed_ones(installed: Path, tmp_path: Path):
    code = "import common, renas, rminas; print(common.__file__, renas.__file__, rminas.__file__)"
    found = run([str(installed / "python"), "-c", code], tmp_path).split()
    assert all(Path(file).is_relative_to(installed.parent) for file in found), found


def test_a_small_renas_runs(installed: Path, tmp_path: Path):
    command = ["-m", "renas", "--train_num", "20", "--num_epochs", "2", "--out", "run"]
    assert "search model acc:" in run([str(installed / "python"), *command], tmp_path)
    assert (tmp_path / "run" / "summary.json").is_file()


def test_a_small_rminas_runs_by_its_console_script_and_the_name_of_a_config(installed: Path, tmp_path: Path):
    settings = "RMINAS.RF_WARMUP 12 RMINAS.RF_SUCC 1 RMINAS.OBSERVE 2 RMINAS.POOL 2 RMINAS.RACE 0 TEACHER.EPOCHS 1"
    command = [str(installed / "rminas"), "--cfg", "nb201_digits_fast", *settings.split(), "EXECUTOR", "serial"]
    said = run(command, tmp_path)
    assert " at best in AnalogNAS-Bench" in said.splitlines()[-1]
    assert (tmp_path / "runs" / "rminas" / "nb201_digits_fast" / "summary.json").is_file()
    space = "rminas.load_config('macro_cifar10').space.name"
    code = f"import rminas, renas; print(rminas.__version__, renas.__version__, {space})"
    version, other, space = run([str(installed / "python"), "-c", code], tmp_path).split()
    assert (version, space) == (other, "macro")
    assert "--data_path" in run([str(installed / "renas"), "--help"], tmp_path)


@pytest.mark.parametrize("start", [["-m", "renas"], ["-m", "rminas"], ["-m", "renas.compare"], ["-c", "import rminas"]])
def test_a_foreign_package_called_common_is_told_in_one_line(installed: Path, tmp_path: Path, start: list[str]):
    (tmp_path / "common").mkdir()
    (tmp_path / "common" / "__init__.py").touch()
    command = [str(installed / "python"), *start, *(["--help"] if start[0] == "-m" else [])]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    said = done.stderr.splitlines()
    assert f"a package called common, in {tmp_path / 'common'}, hides that of the toolkit" in said[-1]
    if start[0] == "-m":
        assert (done.returncode, len(said)) == (2, 1)
