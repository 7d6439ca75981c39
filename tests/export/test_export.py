"""Networks of every space as source, program and ONNX: the same numbers, where nothing of ours can be imported."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from common.errors import InputError
from common.export import export, read_found
from common.export.found import Found
from common.export.source import network_source
from common.export.write import build_found, run_source
from common.spaces import SPACES, make_space
from rminas.export import main

OWN = "examples/own_space.py:SPACE"
SMALL: dict[str, dict[str, int]] = {
    "darts": {"channels": 4, "layers": 3},
    "nasbench101": {"channels": 8},
    "nasbench201": {"channels": 4, "cells_per_stage": 2},
    "macro": {"channels": 8},
    "mobilenet": {"image_size": 64},
    "proxyless": {"image_size": 64},
}
WITHOUT_OURS = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("common", "renas", "rminas"):
            raise ImportError(name)
sys.meta_path.insert(0, Refuse())
import importlib.util, torch
for file in sys.argv[1:]:
    spec = importlib.util.spec_from_file_location("net", file)
    net = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(net)
    given = torch.load(file + ".given", weights_only=True)
    with torch.inference_mode():
        assert torch.equal(net.load()(given["x"]), given["logits"]), file
    network = net.build().train()  # and it trains
    network(given["x"]).sum().backward()
    assert all(p.grad is not None for p in network.parameters()), file
print("equal", len(sys.argv) - 1)
"""


def found_in(name: str, seed: int = 0, weights: bool = False) -> Found:
    space = read_found(name, _text(name, seed), sizes=SMALL.get(name, {"image_size": 8})).space
    found = Found(space, space.parse(_text(name, seed)), {}, "test")
    if not weights:
        return found
    torch.manual_seed(seed)
    network = build_found(found).train()
    network(torch.randn(4, 3, space.image_size, space.image_size))  # running statistics that are not fresh
    return Found(space, found.arch, network.state_dict(), "test")


def _text(name: str, seed: int) -> str:
    space = make_space(name, **({"tied": False} if name == "darts" else {}))
    return space.format(space.sample(np.random.default_rng(seed)))


def images(found: Found) -> torch.Tensor:
    return torch.randn(3, 3, found.space.image_size, found.space.image_size, generator=torch.Generator().manual_seed(1))


def logits(found: Found) -> torch.Tensor:
    with torch.inference_mode():
        return build_found(found)(images(found))


def test_source_of_every_space_computes_the_same_bits_where_torch_is_alone(tmp_path: Path) -> None:
    files = []
    for name in (*sorted(SPACES), OWN):
        for seed in range(1 if name in ("mobilenet", "proxyless") else 2):
            found = found_in(name, seed, weights=True)
            file = tmp_path / f"net_{len(files)}.py"
            assert export(found, file) == [file, file.with_suffix(".pt")]
            torch.save({"x": images(found), "logits": logits(found)}, f"{file}.given")
            files.append(str(file))
    done = subprocess.run(
        [sys.executable, "-I", "-c", WITHOUT_OURS, *files], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.stdout == f"equal {len(files)}\n", done.stderr


def test_source_is_short_and_says_each_kind_of_module_once() -> None:
    found = found_in("nasbench201")
    source = network_source(build_found(found), "title", found.text, 32, 10)
    assert source.count("class Cell(") == 1
    assert source.count("\n") < 150
    assert found.text in source
    assert max(map(len, source.splitlines())) < 160


@pytest.mark.parametrize("name", [OWN, *(pytest.param(name, marks=pytest.mark.slow) for name in sorted(SPACES))])
def test_a_program_of_torch_export_takes_any_number_of_images(name: str, tmp_path: Path) -> None:
    found = found_in(name, weights=True)
    export(found, tmp_path / "net.pt2")
    program = torch.export.load(tmp_path / "net.pt2").module()
    for count in (1, 3):
        assert torch.allclose(program(images(found)[:count]), logits(found)[:count], atol=1e-6)


@pytest.mark.parametrize("name", [OWN, *(pytest.param(name, marks=pytest.mark.slow) for name in sorted(SPACES))])
def test_onnx_computes_the_same_to_a_hundred_thousandth(name: str, tmp_path: Path) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason=f"{package} is not installed (pip install '.[onnx]')")
    import onnxruntime

    found = found_in(name, weights=True)
    export(found, tmp_path / "net.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    for count in (1, 3):
        (made,) = session.run(["logits"], {"images": images(found)[:count].numpy()})
        assert np.abs(made - logits(found)[:count].numpy()).max() < 1e-5


def test_onnx_without_its_packages_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="ONNX needs onnx and onnxscript: pip install"):
        export(found_in("nasbench201"), tmp_path / "net.onnx")


class Odd(nn.Module):
    """Parts that source has to take care of: numbers of its own, names, a way by the shape, keywords."""

    def __init__(self) -> None:
        super().__init__()
        conv = nn.Conv2d(3, 4, (3, 1), padding="same", padding_mode="reflect")
        self.parts = nn.ModuleDict({"conv": conv, "pool": nn.MaxPool2d(2)})
        self.scale = nn.Parameter(torch.tensor([1.5, 2.0]))
        self.register_buffer("shift", torch.tensor(0.25))
        self.last = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.parts["pool"](self.parts["conv"](x)))
        x = nn.functional.dropout(x.flatten(2).mean(-1), 0.5, training=self.training)
        return self.last(x)[:, :2] * self.scale - self.shift


def test_source_of_a_module_with_numbers_and_names_of_its_own() -> None:
    network = Odd().eval()
    made = run_source(network_source(network, "odd", "", 8, 2)).build()
    made.load_state_dict(network.state_dict())
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(made.eval()(x), network(x))


class Wayward(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3)) if x.sum() > 0 else x.amax((2, 3))


def test_a_way_that_depends_on_values_is_told_in_one_line() -> None:
    with pytest.raises(InputError, match=r"Wayward cannot be written as source .*export to .pt2 or .onnx") as caught:
        network_source(Wayward(), "", "", 8, 3)
    assert "\n" not in str(caught.value)


# what is found where ------------------------------------------------------------------------------------------------


def write_folder(folder: Path, **summary: Any) -> Path:
    folder.mkdir()
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def test_folders_of_both_commands_are_read_with_the_sizes_of_their_images(tmp_path: Path) -> None:
    text = _text("nasbench201", 0)
    runs = [{"seed": seed, "found": {"arch": text}} for seed in (3, 4)]
    folder = write_folder(tmp_path / "a", method="ReNAS", space="nasbench201", dataset="imagenet16_120", runs=runs)
    with pytest.raises(InputError, match=r"seeds 3, 4; choose one of them by --run_seed"):
        read_found(str(folder))
    found = read_found(str(folder), run_seed=4)
    assert (found.text, found.space.num_classes, found.space.image_size) == (text, 120, 16)
    own = {"source": "mine.npz", "sha256": "", "num_classes": 7, "image_size": 24}
    folder = write_folder(
        tmp_path / "b", method="RMI-NAS", space="nasbench201", dataset="mine", images=own, runs=runs[:1]
    )
    found = read_found(str(folder))
    assert (found.space.num_classes, found.space.image_size, found.space.channels) == (7, 24, 16)
    assert read_found(str(folder), sizes={"channels": 8, "layers": 0}).space.channels == 8


def test_a_space_of_ones_own_is_named_where_the_folder_knows_its_name_alone(tmp_path: Path) -> None:
    text = _text(OWN, 0)
    folder = write_folder(tmp_path / "a", method="ReNAS", space="own", runs=[{"seed": 0, "found": {"arch": text}}])
    with pytest.raises(InputError, match="a space of your own: name it as --space my_module:SPACE"):
        read_found(str(folder))
    assert read_found(str(folder), space=OWN).text == text


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "a", method="comparison")
    text = _text("macro", 0)
    for words, said in (
        ([str(tmp_path / "none"), "--to", "net.py"], "no such run folder"),
        ([str(folder), "--to", "net.py"], "not the folder of a finished search"),
        (["macro", text, "--to", str(tmp_path / "net.txt")], r"told by the ending: \.py, \.pt2"),
        (["macro", text, "--layers", "3", "--to", "net.py"], "--layers: .*no layers"),
        (["macro", "9", "--to", "net.py"], "not a NAS-Bench-Macro network"),
    ):
        with pytest.raises(InputError, match=said):
            main(words)


def test_the_command_writes_several_files_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [tmp_path / name for name in ("net.py", "cell.svg", "cell.png")]
    main(["macro", "02012100", "--num_classes", "3", "--image_size", "16", "--to", *map(str, files)])
    assert all(file.stat().st_size > 500 for file in files)
    said = capsys.readouterr().out
    assert "none were trained" in said
    assert "Linear(1280, 3)" in files[0].read_text()
