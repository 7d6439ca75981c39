"""`python -m rminas.retrain` from the command line to the files of its run folder, alone and by torchrun."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from common.datasets import digits
from common.datasets.batch import augmented
from common.datasets.images import ImageSet, load_images
from common.datasets.record import DataSet
from common.errors import InputError
from common.seeds import named_rngs, torch_seeded
from common.spaces.darts import Darts
from common.trackers import Tracker
from common.training import classifier, retraining
from common.training.retraining import Objective
from rminas.retrain import HOLD_S, build_network, main, read_genotype, settings_of
from rminas.retrain_config import read_retrain_config

ROOT = Path(__file__).resolve().parents[2]
CELL = (
    "[('max_pool_3x3', 0), ('skip_connect', 1), ('dil_conv_3x3', 0), ('skip_connect', 2), ('skip_connect', 0), "
    "('skip_connect', 1), ('skip_connect', 1), ('skip_connect', 0)]"
)
GENOTYPE = f"Genotype(normal={CELL}, normal_concat=range(2, 6), reduce={CELL}, reduce_concat=range(2, 6))"
FORMATTED = GENOTYPE.replace("range(2, 6)", "[2, 3, 4, 5]")
TINY = {
    "RNG_SEED": 3,
    "DEVICE": "cpu",
    "DATA": {"NAME": "digits"},
    "OPTIM": {"MAX_EPOCH": 2, "BASE_LR": 0.1},
    "TRAIN": {"CHANNELS": 4, "LAYERS": 3, "BATCH_SIZE": 40},
}
IMAGES = 239  # of the digits, for speed: 6 steps an epoch


@pytest.fixture(scope="module", autouse=True)
def _few_digits() -> Iterator[None]:
    record = digits.DIGITS

    def read_few(self: DataSet, path: Path | None) -> ImageSet:
        images = record.read(self, path)
        return dataclasses.replace(images, x_train=images.x_train[:IMAGES], y_train=images.y_train[:IMAGES])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digits, "DIGITS", dataclasses.replace(record, read=read_few))
        yield


SHOWN: list[Any] = []


class Epochs(Tracker):
    def __init__(self, folder: Path) -> None:
        pass

    def add(self, record: Mapping[str, Any]) -> None:
        SHOWN.append(record["epoch"])

    def close(self) -> None:
        SHOWN.append("closed")


def write_cfg(folder: Path, **changes: Any) -> Path:
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump({**TINY, "OUT_DIR": str(folder), **changes}))
    return path


@pytest.fixture
def cfg(tmp_path: Path) -> Path:
    return write_cfg(tmp_path)


def run(cfg: Path, *words: str) -> Path:
    main(["--cfg", str(cfg), "--genotype", GENOTYPE, *words])
    return cfg.parent / "tiny"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a training that was not interrupted."""
    return run(write_cfg(tmp_path_factory.mktemp("whole")))


def records_in(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "epochs.jsonl").read_text().splitlines()]


def untimed(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: untimed(value) for key, value in tree.items() if not key.endswith("_s")}
    return [untimed(item) for item in tree] if isinstance(tree, list) else tree


def weights_in(file: Path) -> dict[str, torch.Tensor]:
    return torch.load(file, weights_only=True)["state_dict"]


def refused(cfg: Path, *words: str) -> str:
    with pytest.raises(InputError) as caught:
        run(cfg, *words)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_training_leaves_a_complete_run_folder(whole: Path) -> None:
    names = ["checkpoint.pt", "config.yaml", "epochs.jsonl", "inputs.json", "learning_curve.png", "summary.json"]
    names += ["cell.pdf", "cell.png", "network.pt", "network.py"]
    assert sorted(path.name for path in whole.iterdir()) == sorted(names)
    saved = yaml.safe_load((whole / "config.yaml").read_text())
    assert saved["TRAIN"]["GENOTYPE"] == FORMATTED
    assert (saved["TRAIN"]["CUTOUT"], saved["OPTIM"]["WEIGHT_DECAY"]) == (4, 3e-4)  # digits' own, and the default
    records, made = records_in(whole), json.loads((whole / "summary.json").read_text())
    assert [record["epoch"] for record in records] == [1, 2]
    assert records[1]["loss"] < records[0]["loss"]
    errors = [record["test_error"] for record in records]
    assert made["final"] == {"epoch": 2, "test_error": errors[1], "test_acc": records[1]["test_acc"]}
    assert made["best"]["test_error"] == min(errors)
    space = Darts(channels=4, layers=3, num_classes=10, image_size=8)
    network = build_network(space, space.parse(GENOTYPE), auxiliary=False)
    assert made["params"] == sum(p.numel() for p in network.parameters())
    assert made["flops"] == space.total_costs(space.to_codes([space.parse(GENOTYPE)]))[0][0]
    assert made["arch"] == FORMATTED
    assert (made["epochs"], made["processes"], made["images_per_step"]) == (2, 1, 40)
    assert (made["precision"], made["seed"], made["dataset"]) == ("float32", 3, "digits")
    assert made["images"]["sha256"] == load_images("digits").sha256
    assert made["train_s"] == sum(record["train_s"] for record in records) > 0
    assert made["environment"]["torch"]
    assert (whole / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    # The trained weights are those that were tested.
    network = build_network(space, space.parse(GENOTYPE), auxiliary=True)
    network.load_state_dict(weights_in(whole / "checkpoint.pt"))
    assert classifier.evaluate(network.eval(), load_images("digits")) == records[1]["test_acc"]


def test_a_finished_run_prints_its_report_and_trains_nothing(
    whole: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_training(*_: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(retraining, "retrain", no_training)
    before = {path.name: path.read_bytes() for path in whole.iterdir()}
    run(whole.parent / "tiny.yaml")
    lines = capsys.readouterr().out.splitlines()
    error = json.loads(before["summary.json"])["final"]["test_error"]
    assert lines[-1] == f"test error after the last epoch: {error:.2f} %"
    assert FORMATTED in lines
    assert {path.name: path.read_bytes() for path in whole.iterdir()} == before


def test_an_interrupted_training_goes_on_to_the_same_end(
    whole: Path, cfg: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classifier, "SAVE_EVERY_S", -1.0)
    real, calls = retraining.learning_rate, []

    def interrupted(*args: Any) -> float:
        calls.append(args)
        if len(calls) == 7:  # 6 steps an epoch
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(retraining, "learning_rate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(cfg)
    folder = cfg.parent / "tiny"
    assert not (folder / "summary.json").exists()
    file = folder / "epochs.jsonl"
    file.write_text(file.read_text() + file.read_text())  # an epoch that was finished after the last checkpoint
    SHOWN.clear()
    run(cfg, "TRACKER", f"{__name__}:Epochs")
    assert SHOWN == [1, 2, "closed"]  # what was trained before the interruption, too
    assert len(calls) == 7 + 6
    assert untimed(records_in(folder)) == untimed(records_in(whole))
    ours, theirs = (json.loads((path / "summary.json").read_text()) for path in (folder, whole))
    assert untimed(ours) == untimed(theirs)
    ours, theirs = (weights_in(path / "checkpoint.pt") for path in (folder, whole))
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_a_folder_of_another_genotype_or_recipe_is_refused(whole: Path) -> None:
    cfg = whole.parent / "tiny.yaml"
    other = GENOTYPE.replace("dil_conv_3x3", "sep_conv_3x3")
    said = refused(cfg, "TRAIN.GENOTYPE", other)
    assert "TRAIN.GENOTYPE is" in said
    assert "choose another OUT_DIR or NAME" in said
    assert "OPTIM.BASE_LR is 0.1 there, 0.2 here" in refused(cfg, "OPTIM.BASE_LR", "0.2")


def made_search(folder: Path, space: str = "darts", seeds: tuple[int, ...] = (0,)) -> Path:
    folder.mkdir()
    runs = [{"seed": seed, "found": {"arch": f"Genotype({seed})"}} for seed in seeds]
    (folder / "summary.json").write_text(json.dumps({"space": space, "runs": runs}))
    return folder


def test_a_genotype_is_read_from_text_a_file_or_a_finished_search(tmp_path: Path) -> None:
    (tmp_path / "g.txt").write_text(f"\n{GENOTYPE}\n")
    assert read_genotype(GENOTYPE) == read_genotype(str(tmp_path / "g.txt")) == GENOTYPE
    assert read_genotype(str(made_search(tmp_path / "one"))) == "Genotype(0)"
    assert read_genotype(str(made_search(tmp_path / "two", seeds=(4, 5))), run_seed=5) == "Genotype(5)"


def test_what_holds_no_genotype_is_named(tmp_path: Path) -> None:
    many = made_search(tmp_path / "many", seeds=(4, 5))
    (tmp_path / "none").mkdir()
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    (ranking := made_search(tmp_path / "rank")).joinpath("summary.json").write_text('{"space": "darts", "runs": [{}]}')
    for given, run_seed, said in [
        ("", None, "TRAIN.GENOTYPE is empty"),
        (str(tmp_path / "none"), None, "summary.json: cannot be read (No such file or directory)"),
        (str(tmp_path / "binary"), None, "binary: not a text file (no UTF-8 at byte 0)"),
        (str(many), None, "runs of the seeds 4, 5; choose one of them by --run_seed"),
        (str(many), 6, "runs of the seeds 4, 5; choose one of them by --run_seed"),
        (str(ranking), None, "rank: not the folder of a finished search"),
        (GENOTYPE, 0, "--run_seed 0: only with a run folder"),
    ]:
        with pytest.raises(InputError) as caught:
            read_genotype(given, run_seed)
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("TRAIN.GENOTYPE", "Genotype(normal=[])"), "not a DARTS genotype"),
        (("TRAIN.GENOTYPE", "__import__('os').getcwd()"), "not a DARTS genotype"),
        (("TRAIN.GENOTYP", "x"), "unknown key TRAIN.GENOTYP; did you mean TRAIN.GENOTYPE?"),
        (("SPACE.NAME", "makro"), "SPACE.NAME is 'makro', expected one of darts, macro"),
        (
            ("SPACE.NAME", "macro", "TRAIN.AUX_WEIGHT", "0.4"),
            "TRAIN.AUX_WEIGHT is 0.4: only networks of darts",
        ),
        (
            ("TRAIN.GENOTYPE", "runs/no"),
            "--arch runs/no: neither a file or folder that exists nor an architecture",
        ),
        (("TRAIN.GENOTYPE", "no", "DATA.PATH", "none.npz"), "--arch no: neither a file or folder that exists nor an"),
        (("DATA.NAME", "mnist"), "unknown data set 'mnist'"),
        (("DATA.IM_SIZE", "32"), "DATA.IM_SIZE is 32, but scikit-learn load_digits has 8"),
        (("DATA.NUM_CLASSES", "100"), "DATA.NUM_CLASSES is 100, but scikit-learn load_digits has 10"),
        (("TRAIN.CUTOUT", "16"), "TRAIN.CUTOUT is 16, which leaves nothing of images 8 pixels wide"),
        (("TRAIN.LAYERS", "2"), "DARTS: 2 layers; two reductions need 3 at least"),
        (("TRAIN.PRECISION", "fp8"), "expected one of auto, float32, bf16"),
        (("OPTIM.WARMUP_EPOCH", "2"), "OPTIM.WARMUP_EPOCH is 2, expected less than the 2 epochs"),
        (("OPTIM.BASE_LR",), "'OPTIM.BASE_LR' has no value"),
    ],
)
def test_bad_input_is_one_line_that_names_it(cfg: Path, words: tuple[str, ...], said: str) -> None:
    assert said.replace("'2'", "2") in refused(cfg, *words)
    assert [path.name for path in cfg.parent.iterdir()] == ["tiny.yaml"]  # no folder is left behind


def test_of_several_processes_one_tells_an_error_before_the_others(cfg: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[float] = []
    monkeypatch.setattr("time.sleep", held.append)
    for rank in ("0", "1"):
        monkeypatch.setenv("LOCAL_RANK", rank)
        assert "unknown data set" in refused(cfg, "DATA.NAME", "mnist")
    assert held == [HOLD_S]


def run_shipped(name: str, out: Path, *words: str) -> Path:
    """A config as it is shipped, cut down to 3 cells and few channels."""
    cut = ("--device", "cpu", "--out", str(out), "TRAIN.LAYERS", "3", "TRAIN.CHANNELS", "2")
    main(["--cfg", str(ROOT / "configs" / f"{name}.yaml"), "--genotype", GENOTYPE, *cut, *words])
    return out / name


def test_the_cifar_config_trains_on_an_npz_and_tests_when_asked(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.integers(256, size=(20, 32, 32, 3), dtype=np.uint8), np.arange(20) % 10
    np.savez(tmp_path / "c.npz", x_train=x, y_train=y, x_test=x[:10], y_test=y[:10])
    folder = run_shipped(
        "darts_20layer_cifar", tmp_path, "DATA.PATH", str(tmp_path / "c.npz"), "TRAIN.BATCH_SIZE", "20",
        "TRAIN.AUX_WEIGHT", "0", "OPTIM.MAX_EPOCH", "3", "TRAIN.EVAL_PERIOD", "2",
    )  # fmt: skip
    assert [record["test_error"] is None for record in records_in(folder)] == [True, False, False]
    assert not any(key.startswith("auxiliary") for key in weights_in(folder / "checkpoint.pt"))
    assert yaml.safe_load((folder / "config.yaml").read_text())["TRAIN"]["CUTOUT"] == 16


def test_the_imagenet_config_trains_on_folders_of_pictures(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for split, count in (("train", 2), ("val", 1)):
        for kind in ("cat", "dog"):
            (folder := tmp_path / "pictures" / split / kind).mkdir(parents=True)
            for index in range(count):
                pixels = rng.integers(256, size=(230, 240, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{index}.png")
    pictures = ("DATA.PATH", str(tmp_path / "pictures"), "TRAIN.BATCH_SIZE", "4", "OPTIM.MAX_EPOCH", "1")
    folder = run_shipped("darts_14layer_imagenet", tmp_path, *pictures)
    assert records_in(folder)[0]["test_error"] in (0, 50, 100)
    assert weights_in(folder / "checkpoint.pt")["classifier.weight"].shape[0] == 2
    assert weights_in(folder / "checkpoint.pt")["stem.0.weight"].shape[0] == 1  # ImageNet's stem: half the channels
    with pytest.raises(InputError, match="no folder train in it"):
        run_shipped("darts_14layer_imagenet", tmp_path, "DATA.PATH", str(tmp_path), "NAME", "other")


def test_shipped_configs_are_the_published_recipes() -> None:
    cifar, notes = read_retrain_config(ROOT / "configs/darts_20layer_cifar.yaml", [])
    assert not notes
    settings = settings_of(cifar, "cpu")
    assert (cifar.train.layers, cifar.train.channels, cifar.data.name) == (20, 36, "cifar10")
    assert (settings.batch_size, settings.lr, settings.momentum, settings.weight_decay) == (96, 0.025, 0.9, 3e-4)
    assert (settings.epochs, settings.clip, settings.cutout) == (600, 5.0, 16)
    assert (settings.drop_path, settings.auxiliary_weight, settings.label_smoothing) == (0.2, 0.4, 0.0)
    assert (settings.bf16, settings_of(cifar, "cuda").bf16) == (False, True)
    imagenet, _ = read_retrain_config(ROOT / "configs/darts_14layer_imagenet.yaml", [])
    settings = settings_of(imagenet, "cuda")
    assert (imagenet.train.layers, imagenet.train.channels, imagenet.space.name) == (14, 48, "darts")
    assert (settings.batch_size, settings.lr, settings.weight_decay, settings.epochs) == (32, 0.1, 3e-5, 250)
    assert (settings.label_smoothing, settings.cutout, settings.clip) == (0.1, 0, 5.0)
    by_images, _ = read_retrain_config(None, [("DATA.NAME", "imagenet")])
    assert settings_of(by_images, "cuda") == settings


def test_both_published_dialects_load(tmp_path: Path) -> None:
    archive = "RNG_SEED: 2\nDATA_LOADER:\n  BACKEND: custom\nOUT_DIR: o\nSEARCH:\n  IM_SIZE: 32\nTRAIN:\n  LAYERS: 14\n"
    xnas = (
        "SPACE:\n  NAME: infer_darts\nLOADER:\n  DATASET: cifar100\n  BATCH_SIZE: 64\n  NUM_CLASSES: 100\nTEST:\n"
        "  BATCH_SIZE: 96\nOPTIM:\n  WEIGHT_DECAY: 3.e-4\nTRAIN:\n  AUX_WEIGHT: 0.3\n  DROP_PATH_PROB: 0.3\n"
        f'  GENOTYPE: "{GENOTYPE}"\n'
    )
    (tmp_path / "a.yaml").write_text(archive)
    (tmp_path / "x.yaml").write_text(xnas)
    config, notes = read_retrain_config(tmp_path / "a.yaml", [])
    assert (config.data.im_size, config.train.layers, len(notes)) == (32, 14, 1)
    config, notes = read_retrain_config(tmp_path / "x.yaml", [])
    assert (config.data.name, config.data.num_classes, config.train.batch_size) == ("cifar100", 100, 64)
    assert (config.train.aux_weight, config.train.drop_path_prob, config.train.genotype) == (0.3, 0.3, GENOTYPE)
    assert len(notes) == 1


# What torchrun runs: the command on images from a file, as scikit-learn takes seconds to import, which also leaves each
# process's network behind.
SPY = """
import dataclasses, sys, numpy as np, torch
from common.cli import run_command
from common.datasets import digits
from common.datasets.images import make_image_set
from common.training import retraining
from rminas.retrain import main
real = retraining.retrain
def read(record, path):
    x, y, x_test, y_test = np.load(f"{sys.argv[1]}/digits.npz").values()
    return make_image_set(record, (x, y), (x_test, y_test), "digits.npz")
def retrain(network, images, settings, rng, processes, *rest):
    records = real(network, images, settings, rng, processes, *rest)
    torch.save(network.state_dict(), f"{sys.argv[1]}/rank{processes.rank}.pt")
    return records
digits.DIGITS = dataclasses.replace(digits.DIGITS, read=read)
retraining.retrain = retrain
run_command("spy", lambda: main(sys.argv[2:]))
"""


def test_two_processes_step_along_the_mean_gradient_of_their_shares(tmp_path: Path) -> None:
    cfg = write_cfg(tmp_path)
    (tmp_path / "spy.py").write_text(SPY)
    images = load_images("digits")
    np.savez(tmp_path / "digits.npz", images.x_train, images.y_train, images.x_test, images.y_test)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"),
            *(str(tmp_path / "spy.py"), str(tmp_path), "--cfg", str(cfg), "--genotype", GENOTYPE),
        ],
        cwd=ROOT, env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("test error after the last epoch") == 1  # one process speaks
    first, second = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in range(2))
    assert all(torch.equal(first[key], second[key]) for key in first)
    records = records_in(tmp_path / "tiny")
    assert records[1]["loss"] < records[0]["loss"]
    made = json.loads((tmp_path / "tiny" / "summary.json").read_text())
    assert (made["processes"], made["images_per_step"]) == (2, 80)
    shutil.copytree(tmp_path / "tiny", tmp_path / "again")
    assert "processes is 2 there, 1 here" in refused(cfg, "NAME", "again")

    expected, losses = in_one_process(cfg, images, count=2)
    assert [record["loss"] for record in records] == pytest.approx(losses, rel=1e-4)
    for key, value in expected.items():
        torch.testing.assert_close(first[key], value, rtol=1e-3, atol=1e-5)


def in_one_process(cfg: Path, images: ImageSet, count: int) -> tuple[dict[str, torch.Tensor], list[float]]:
    """Weights and losses of the same training, the processes' shares one after another: batch norm over each share,
    the mean of the gradients, the running statistics of the first.
    """
    config, _ = read_retrain_config(cfg, [])
    settings = settings_of(config, "cpu")
    rngs = named_rngs(config.rng_seed, "weights", "training")
    space = Darts(channels=4, layers=3, num_classes=10, image_size=8)
    with torch_seeded(rngs["weights"]):
        network = build_network(space, space.parse(GENOTYPE), auxiliary=True).train()
    objective, rng = Objective(network, settings), rngs["training"]
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=3e-4)
    together = 40 * count
    losses, step, steps = [], 0, 2 * -(-IMAGES // together)
    for epoch in range(2):
        network.drop_path = 0.2 * epoch / 2
        order, seed = rng.permutation(IMAGES), int(rng.integers(2**63))
        own = [np.random.default_rng([seed, rank]) for rank in range(count)]
        states = [torch.Generator().manual_seed(int(one.integers(2**63))).get_state() for one in own]
        total = seen = 0.0
        for start in range(0, IMAGES, together):
            for group in optimizer.param_groups:
                group["lr"] = config.optim.base_lr / 2 * (1 + np.cos(np.pi * step / steps))
            rows = order[start : start + together]
            rows = rows[: len(rows) // count * count]
            optimizer.zero_grad()
            for rank in range(count):
                buffers = [buffer.clone() for buffer in network.buffers()]
                share = rows[rank::count]
                with torch.random.fork_rng([]):
                    torch.set_rng_state(states[rank])
                    loss, _ = objective(
                        augmented(images, share, own[rank], cutout=4), torch.from_numpy(images.y_train[share])
                    )
                    states[rank] = torch.get_rng_state()
                (loss / count).backward()
                total, seen = total + float(loss.detach()) * len(share), seen + len(share)
                if rank:
                    for buffer, kept in zip(network.buffers(), buffers, strict=True):
                        buffer.copy_(kept)
            torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimizer.step()
            step += 1
        losses.append(total / seen)
    return network.state_dict(), losses


def test_errors_exit_with_2_and_help_needs_no_torch(cfg: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "rminas.retrain", "--cfg", str(cfg)], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "TRAIN.GENOTYPE is empty" in done.stderr
    code = (
        "import sys; from rminas.retrain import make_parser; make_parser().format_help(); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
