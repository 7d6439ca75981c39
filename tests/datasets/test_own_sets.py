"""Data sets of one's own, and what every registered data set has to offer."""

from __future__ import annotations

import dataclasses
import hashlib
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from common.datasets import DATASETS, data_set, imagenet16
from common.datasets.batch import augmented, normalised
from common.datasets.images import ImageSet, load_images
from common.datasets.record import Augmentation, DataSet
from common.datasets.tinyimagenet import halved
from common.errors import InputError
from common.networks.teachers import TEACHERS
from common.training.classifier import ClassifierSettings


def arrays(classes: int = 3, size: int = 20, count: int = 12) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "x_train": rng.integers(256, size=(count, size, size, 3), dtype=np.uint8),
        "y_train": np.arange(count) % classes,
        "x_test": rng.integers(256, size=(7, size, size, 3), dtype=np.uint8),
        "y_test": np.arange(7) % classes,
    }


def save(folder: Path, **content: np.ndarray) -> Path:
    path = folder / "mine.npz"
    np.savez(path, **content)
    return path


# an .npz -------------------------------------------------------------------------------------------------------------


def test_an_npz_under_any_name_is_a_data_set_whose_facts_are_counted(tmp_path: Path) -> None:
    content = arrays()
    images = load_images("my.set-2", save(tmp_path, **content))
    assert (images.name, images.num_classes, images.image_size) == ("my.set-2", 3, 20)
    for key, value in content.items():
        np.testing.assert_array_equal(getattr(images, key), value)
    assert images.mean == pytest.approx(content["x_train"].mean((0, 1, 2)) / 255, abs=1e-12)
    assert images.std == pytest.approx(content["x_train"].std((0, 1, 2)) / 255, abs=1e-12)
    assert images.augmentation == Augmentation(pad=2, flip=True)
    x = normalised(images, slice(None), "train")
    assert x.mean((0, 2, 3)).abs().max() < 1e-5
    assert augmented(images, np.arange(5), np.random.default_rng(0)).shape == (5, 3, 20, 20)


def test_moments_of_more_images_than_are_counted_at_once_are_exact(tmp_path: Path) -> None:
    content = arrays(size=8, count=2500)
    content["x_train"][..., 2] = 7  # a channel that never changes
    images = load_images("own", save(tmp_path, **content))
    assert images.mean == pytest.approx(content["x_train"].mean((0, 1, 2)) / 255, abs=1e-12)
    assert images.std[:2] == pytest.approx(content["x_train"].std((0, 1, 2))[:2] / 255, abs=1e-12)
    assert images.std[2] == 1
    assert torch.isfinite(normalised(images, slice(None), "test")).all()


@pytest.mark.parametrize("shape", [(20, 20), (20, 20, 1)])
def test_grey_images_get_three_channels(tmp_path: Path, shape: tuple[int, ...]) -> None:
    content = arrays()
    for key in ("x_train", "x_test"):
        content[key] = content[key][..., 0].reshape(-1, *shape)
    images = load_images("own", save(tmp_path, **content))
    assert images.x_test.shape == (7, 20, 20, 3)
    for channel in range(3):
        np.testing.assert_array_equal(images.x_test[..., channel], content["x_test"].reshape(-1, 20, 20))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x_train": np.zeros((12, 20, 24, 3), np.uint8)}, "train images are uint8 (12, 20, 24, 3), own needs uint8"),
        (
            {"x_test": np.zeros((7, 8, 8, 3), np.uint8)},
            "test images are uint8 (7, 8, 8, 3), own needs uint8 (N, 20, 20, 3",
        ),
        ({"x_train": np.zeros((12, 20, 20, 3))}, "train images are float64"),
        ({"x_train": np.zeros(3, np.uint8)}, "train images are uint8 (3,), own needs uint8 (N, H, H, 3)"),
        ({"x_train": np.zeros((0, 20, 20, 3), np.uint8), "y_train": np.zeros(0, int)}, "train images are uint8 (0,"),
        ({"y_train": np.arange(12) + 1}, "training images of 12 classes, own has 13"),
        ({"y_train": np.full(12, -1)}, "train label -1 (row 0)"),
        ({"y_test": np.full(7, 5)}, "test label 5 (row 0), own has 3 classes from 0"),
        ({"y_train": np.zeros(12, int), "y_test": np.zeros(7, int)}, "training images of 1 classes"),
    ],
)
def test_arrays_that_do_not_fit_each_other_are_named(
    tmp_path: Path, change: dict[str, np.ndarray], message: str
) -> None:
    path = save(tmp_path, **{**arrays(), **change})
    with pytest.raises(InputError) as caught:
        load_images("own", path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_a_name_without_a_path_or_with_odd_characters_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"unknown data set 'own'; choose from cifar10, .* your own images with"):
        load_images("own")
    for name in ("my set", "../up", "", "a/b"):
        with pytest.raises(InputError, match="unknown data set"):
            load_images(name, save(tmp_path, **arrays()))


# a folder of pictures ------------------------------------------------------------------------------------------------


def pictures(folder: Path, test: str = "test", size: int = 12) -> dict[str, np.ndarray]:
    """Two pictures a class and split, as PNG; the arrays they hold."""
    content = arrays(classes=2, size=size, count=4)
    content["y_train"], content["y_test"] = np.array([0, 0, 1, 1]), np.array([0, 1])
    content["x_test"] = content["x_test"][:2]
    for split, x, y in (("train", "x_train", "y_train"), (test, "x_test", "y_test")):
        for row, (image, label) in enumerate(zip(content[x], content[y], strict=True)):
            path = folder / split / ("cat", "dog")[label] / f"{row}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    return content


@pytest.mark.parametrize("test", ["test", "val"])
def test_a_folder_of_pictures_is_the_data_set_of_its_arrays(tmp_path: Path, test: str) -> None:
    content = pictures(tmp_path / "mine", test)
    images = load_images("pets", tmp_path / "mine")
    for key, value in content.items():
        np.testing.assert_array_equal(getattr(images, key), value)
    assert (images.num_classes, images.image_size) == (2, 12)
    assert images.sha256 == load_images("pets", save(tmp_path, **content)).sha256


def test_pictures_of_other_sizes_and_folders_of_another_make_are_named(tmp_path: Path) -> None:
    def refused() -> str:
        with pytest.raises(InputError) as caught:
            load_images("pets", tmp_path)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "pictures are read from train/<class>/ and test/<class>/" in refused()
    pictures(tmp_path)
    Image.new("RGB", (12, 14)).save(tmp_path / "train" / "dog" / "3.png")
    assert "3.png: 12 x 14 pixels, 0.png has 12 x 12; make all pictures squares of one size" in refused()
    Image.new("RGB", (12, 14)).save(tmp_path / "train" / "cat" / "0.png")
    assert "0.png: 12 x 14 pixels; make all" in refused()
    (tmp_path / "train" / "cat" / "0.png").write_text("hello")
    assert "0.png: cannot be read as an image" in refused()
    (tmp_path / "test" / "cat").rename(tmp_path / "test" / "cow")
    assert "not the classes of train: without cat, besides cow" in refused()


# a record of one's own -----------------------------------------------------------------------------------------------

OWN = """
from common.datasets import DataSet
from common.datasets.images import make_image_set
import numpy as np

def read(record, path):
    x = np.arange(4 * 8 * 8 * 3, dtype=np.uint8).reshape(4, 8, 8, 3)
    return make_image_set(record, (x, np.arange(4) % 2), (x, np.arange(4) % 2), source="made")

MY_SET = DataSet("stripes", "Stripes", num_classes=2, image_size=8, read=read, teacher="resnet32")
NONE = 3
"""


def test_a_record_of_ones_own_is_found_by_import_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_images_of_mine.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    images = load_images("my_images_of_mine:MY_SET")
    assert (images.name, images.num_classes, images.source) == ("stripes", 2, "made")
    assert images.augmentation == Augmentation(pad=1, flip=True)
    assert data_set("my_images_of_mine:MY_SET").teacher == "resnet32"
    with pytest.raises(InputError, match="'my_images_of_mine:NONE': a int instead of a"):
        data_set("my_images_of_mine:NONE")
    assert load_images(dataclasses.replace(data_set("my_images_of_mine:MY_SET"), name="other")).name == "other"


def test_a_record_without_a_reader_of_its_own_reads_an_npz(tmp_path: Path) -> None:
    record = DataSet("own", num_classes=3, mean=(0.1, 0.2, 0.3), std=(0.5, 0.5, 0.5), augmentation=Augmentation())
    images = load_images(record, save(tmp_path, **arrays()))
    assert (images.mean, images.std, images.augmentation) == (record.mean, record.std, Augmentation())
    with pytest.raises(InputError, match="training images of 2 classes, own has 3"):
        load_images(record, save(tmp_path, **arrays(classes=2)))


# Tiny-ImageNet -------------------------------------------------------------------------------------------------------


def test_halving_takes_means_of_four_pixels() -> None:
    image = np.array([[0, 1, 10, 10], [2, 3, 10, 11]], np.uint8)[None, ..., None]
    assert halved(image)[0, ..., 0].tolist() == [[2, 10]]  # 1.5 and 10.25
    full = np.full((1, 4, 4, 3), 255, np.uint8)
    assert halved(full).tolist() == full[:, :2, :2].tolist()


@pytest.mark.shared
def test_the_stand_in_for_imagenet16_says_that_it_is_one(shared_data: Path) -> None:
    path = shared_data / "tiny_imagenet" / "tiny_imagenet120_32px.npz"
    large, small = (load_images(name, path) for name in ("tinyimagenet120", "tinyimagenet120_16"))
    assert (large.image_size, small.image_size) == (32, 16)
    for images in (large, small):
        assert (len(images.x_train), len(images.x_test), images.num_classes) == (7200, 2400, 120)
        assert "stand-in for ImageNet16-120, not its classes" in data_set(images.name).title
    mean = large.x_test[5, :2, :2].astype(float).mean((0, 1))
    assert np.abs(small.x_test[5, 0, 0] - mean).max() <= 0.5


# what all have -------------------------------------------------------------------------------------------------------


def file_of(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path | None:
    """A small file or folder in the data set's own format."""
    record = data_set(name)
    if name == "digits":
        return None
    if name == "imagenet":
        pictures(folder, "val")
        return folder
    if name == "imagenet16_120":
        batch = {"data": np.zeros((120, 768), np.uint8), "labels": [*range(1, 121)]}
        sums = {file: hashlib.md5(pickle.dumps(batch)).hexdigest() for file in imagenet16.TRAIN_FILES}
        for file in (*sums, "val_data"):
            (folder / file).write_bytes(pickle.dumps(batch))
        monkeypatch.setattr(imagenet16, "TRAIN_FILES", sums)
        monkeypatch.setattr(imagenet16, "TEST_FILES", {"val_data": next(iter(sums.values()))})
        return folder
    return save(folder, **arrays(classes=record.num_classes, size=32, count=record.num_classes))


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_every_data_set_reads_its_format_as_its_record_says(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = data_set(name)
    assert record.name == name
    assert record.title != name
    images: ImageSet = load_images(name, file_of(name, tmp_path, monkeypatch))
    assert images.name == name
    assert images.image_size == record.image_size
    if name != "imagenet":  # its classes are the folders
        assert images.num_classes == record.num_classes
    assert (images.mean, images.std, images.augmentation) == (record.mean, record.std, record.augmentation)
    x = augmented(images, np.arange(2), np.random.default_rng(0))
    assert x.shape == (2, 3, record.image_size, record.image_size)
    assert record.teacher in TEACHERS
    assert ClassifierSettings(**record.teacher_recipe).epochs > 0


def test_records_are_read_without_torch() -> None:
    code = (
        "import sys; from common.datasets import DATASETS, data_set; [data_set(name) for name in DATASETS];"
        "print(sorted({'torch', 'torchvision', 'sklearn', 'PIL'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout.strip() == "[]", run.stderr
