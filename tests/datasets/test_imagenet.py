"""ImageNet from folders: what is read when, cropping as torchvision does it, and what is said about other folders."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision import transforms

from common.datasets.batch import augmented, images_at_once, normalised, select_batch
from common.datasets.images import ImageSet, load_images
from common.datasets.pictures import ImageFiles, crop_box, random_crops
from common.errors import InputError
from common.networks.base import TappedNetwork
from common.training import classifier
from common.training.classifier import ClassifierSettings, evaluate, train_classifier

SIZES = ((40, 40), (60, 40), (40, 52))
CLASSES = ("n01440764", "n02102040", "n03000684")


def save(path: Path, width: int, height: int, seed: int, mode: str = "RGB") -> None:
    """Colours that change slowly, as a JPEG of that size."""
    small = np.random.default_rng(seed).integers(256, size=(3, 3, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(small).resize((width, height), Image.Resampling.BILINEAR).convert(mode).save(path, quality=95)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three classes with two pictures for training and one for testing; files that are no pictures beside them."""
    for number, (kind, (width, height)) in enumerate(zip(CLASSES, SIZES, strict=True)):
        for split, count in (("train", 2), ("val", 1)):
            for index in range(count):
                name = f"{'ab'[index]}{number}.{('JPEG', 'jpg')[index]}"
                save(tmp_path / split / kind / name, width, height, 10 * number + index)
    (tmp_path / "train" / CLASSES[0] / "readme.txt").write_text("no picture")
    (tmp_path / "train" / "list.txt").write_text("no class")
    return tmp_path


def as_torchvision(path: Path) -> np.ndarray:
    made = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224)])(Image.open(path).convert("RGB"))
    return np.asarray(made)


def test_classes_are_the_sorted_folders_and_rows_their_sorted_pictures(folder: Path) -> None:
    images = load_images("imagenet", folder)
    assert (images.num_classes, images.image_size, images.augmentation.crop) == (3, 224, True)
    assert images.y_train.tolist() == [0, 0, 1, 1, 2, 2]
    assert images.y_test.tolist() == [0, 1, 2]
    assert (images.y_train.dtype, images.x_train.dtype) == (np.int64, np.uint8)
    assert (images.x_train.shape, len(images.x_train)) == ((6, 224, 224, 3), 6)
    assert images.x_test.shape == (3, 224, 224, 3)
    assert images.mean == (0.485, 0.456, 0.406)


def test_rows_are_resized_and_cropped_as_torchvision_does_it(folder: Path) -> None:
    images = load_images("imagenet", folder)
    files = [folder / "train" / kind / f"{name}{i}.{end}" for i, kind in enumerate(CLASSES)
             for name, end in (("a", "JPEG"), ("b", "jpg"))]  # fmt: skip
    expected = np.stack([as_torchvision(file) for file in files])
    assert len(np.unique(expected.reshape(6, -1), axis=0)) == 6
    np.testing.assert_array_equal(images.x_train[np.array([4, 1, 4])], expected[[4, 1, 4]])
    np.testing.assert_array_equal(images.x_train[1:3], expected[1:3])
    assert images.x_train[np.array([], dtype=np.int64)].shape == (0, 224, 224, 3)
    x = normalised(images, np.array([3]), "train")
    wanted = transforms.Normalize(images.mean, images.std)(transforms.ToTensor()(Image.fromarray(expected[3])))
    torch.testing.assert_close(x[0], wanted, rtol=1e-5, atol=1e-5)


def test_no_picture_is_decoded_before_its_row_is_asked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []
    decode = ImageFiles.picture
    monkeypatch.setattr(ImageFiles, "picture", lambda self, row: decoded.append(int(row)) or decode(self, row))
    images = load_images("imagenet", folder)
    assert decoded == []
    _ = images.x_train[2:4]
    augmented(images, np.array([5, 0]), np.random.default_rng(0))
    assert sorted(decoded) == [0, 2, 3, 5]


def test_grey_and_transparent_pictures_become_rgb(folder: Path) -> None:
    save(folder / "val" / CLASSES[0] / "z.png", 40, 40, 5, mode="RGBA")
    save(folder / "val" / CLASSES[0] / "y.JPEG", 40, 40, 6, mode="L")
    images = load_images("imagenet", folder)
    grey, coloured = images.x_test[1:3]
    assert (np.ptp(grey, axis=2) == 0).all()
    np.testing.assert_array_equal(coloured, as_torchvision(folder / "val" / CLASSES[0] / "z.png"))


# augmentation ------------------------------------------------------------------------------------------------------


def test_augmentation_is_a_random_crop_that_follows_its_generator_alone(folder: Path, tmp_path: Path) -> None:
    images, rows = load_images("imagenet", folder), np.array([0, 2, 4, 0])
    first, again, other = (augmented(images, rows, np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert first.shape == (4, 3, 224, 224)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first[0], first[3])
    # What is drawn does not depend on the pictures: another set of them leaves the generator where this one does.
    generators = [np.random.default_rng(0) for _ in range(2)]
    augmented(images, rows, generators[0])
    augmented(images, np.array([1, 1, 3, 5]), generators[1])
    assert generators[0].random() == generators[1].random()


class FixedDraws:
    """A generator whose first numbers are the same for every try of every image; the second ones decide the mirror."""

    def __init__(self, draws: tuple[float, ...], mirror: float) -> None:
        self.draws, self.mirror = draws, mirror

    def random(self, size: int | tuple[int, ...]) -> np.ndarray:
        return np.full(size, self.mirror) if isinstance(size, int) else np.broadcast_to(self.draws, size)


SQUARE = np.log(4 / 3) / np.log(16 / 9)  # the draw whose shape is 1 : 1


def test_crops_are_parts_of_the_whole_picture_mirrored_or_not(folder: Path) -> None:
    x = load_images("imagenet", folder).x_train
    picture = Image.open(folder / "train" / CLASSES[1] / "a1.JPEG")  # 60 x 40
    area = (20 * 20 / (60 * 40) - 0.08) / 0.92
    top, left = 0.99, 0.99  # of 21 and 41 places: the last ones
    part = np.asarray(picture.crop((40, 20, 60, 40)).resize((224, 224), Image.Resampling.BILINEAR))
    for mirror, flip, expected in ((0.1, True, part[:, ::-1]), (0.9, True, part), (0.1, False, part)):
        draws = FixedDraws((area, SQUARE, top, left), mirror)
        np.testing.assert_array_equal(random_crops(x, np.array([2]), draws, flip)[0], expected)  # type: ignore[arg-type]


def test_images_in_memory_are_cropped_in_the_same_way(folder: Path) -> None:
    images = load_images("imagenet", folder)
    square = np.stack([np.asarray(Image.open(folder / "train" / CLASSES[0] / name)) for name in ("a0.JPEG", "b0.jpg")])
    rows = np.array([1, 0, 1])
    held = random_crops(square, rows, np.random.default_rng(3), flip=True)
    assert held.shape == (3, 40, 40, 3)
    filed = ImageFiles(images.x_train.paths[:2], 40)  # type: ignore[attr-defined]
    np.testing.assert_array_equal(held, random_crops(filed, rows, np.random.default_rng(3), flip=True))


def test_crop_boxes_lie_inside_and_keep_to_the_published_areas_and_shapes() -> None:
    rng = np.random.default_rng(0)
    boxes = np.array([crop_box(300, 400, rng.random((10, 4))) for _ in range(3000)])
    top, left, h, w = boxes.T
    assert min(top.min(), left.min()) == 0
    assert ((top + h).max(), (left + w).max()) == (300, 400)
    area, ratio = h * w / (300 * 400), w / h
    assert 0.078 < area.min() < 0.1
    assert area.max() > 0.85
    assert 0.73 < ratio.min() < 0.78
    assert 1.29 < ratio.max() < 1.36
    reference = transforms.RandomResizedCrop(224)
    torch.manual_seed(0)
    drawn = [reference.get_params(torch.empty(3, 300, 400), reference.scale, reference.ratio) for _ in range(3000)]
    theirs = np.array(drawn, dtype=np.float64)
    for ours, column in zip((top, left, h, w), theirs.T, strict=True):
        error = np.hypot(ours.std(), column.std()) / np.sqrt(3000)
        assert abs(ours.mean() - column.mean()) < 4 * error


@pytest.mark.parametrize(("height", "width"), [(10, 1000), (1000, 10), (1, 1)])
def test_where_no_crop_fits_it_is_torchvisions_centred_one(height: int, width: int) -> None:
    reference = transforms.RandomResizedCrop(224)
    expected = reference.get_params(torch.empty(3, height, width), reference.scale, reference.ratio)
    assert crop_box(height, width, np.full((10, 4), 0.6)) == tuple(expected)


# use ---------------------------------------------------------------------------------------------------------------


class Means(TappedNetwork):
    """A linear classifier of the mean colour, that notes how many images came at once."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(3, classes)
        self.came: list[int] = []

    def forward_taps(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        self.came.append(len(x))
        return self.linear(x.mean((2, 3))), (x,)


def means(classes: int = 3) -> Means:
    torch.manual_seed(0)
    return Means(classes)


def test_large_images_pass_a_network_in_smaller_parts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (images_at_once(32), images_at_once(224), images_at_once(10_000)) == (4096, 83, 1)
    images = load_images("imagenet", folder)
    network = means()
    accuracy = evaluate(network, images)
    right = network(normalised(images, slice(None), "test")).argmax(1).numpy() == images.y_test
    assert accuracy == pytest.approx(100 * right.mean())
    monkeypatch.setattr("common.datasets.batch.PIXELS_AT_ONCE", 2 * 224**2)
    network.came.clear()
    assert evaluate(network, images) == accuracy
    assert network.came == [2, 1]
    network.came.clear()
    parted = select_batch(images, network, 2, np.random.default_rng(0), pool=3)
    assert network.came == [2, 2, 2]
    monkeypatch.undo()
    whole = select_batch(images, network, 2, np.random.default_rng(0), pool=3)
    np.testing.assert_array_equal(parted.rows, whole.rows)
    np.testing.assert_allclose(parted.losses, whole.losses, rtol=1e-5)
    assert classifier.EVALUATION_BATCH == 500


def test_batch_statistics_are_of_all_images_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.datasets.batch.PIXELS_AT_ONCE", 1)
    came: list[int] = []
    monkeypatch.setattr(Means, "forward", lambda self, x: came.append(len(x)) or self.forward_taps(x)[0])
    select_batch(load_images("imagenet", folder), means(), 2, np.random.default_rng(0), 3, teacher_mode="train")
    assert came == [6]


def test_a_network_is_trained_on_files(folder: Path) -> None:
    network = means()
    before = network.linear.weight.clone()
    settings = ClassifierSettings(epochs=1, batch_size=4)
    history = train_classifier(network, load_images("imagenet", folder), settings, np.random.default_rng(0))
    assert network.came == [4, 2]
    assert np.isfinite(history.loss).all()
    assert not torch.equal(network.linear.weight, before)


# identity and errors -----------------------------------------------------------------------------------------------


def test_the_checksum_is_of_names_and_sizes_wherever_the_folder_lies(
    folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    first = load_images("imagenet", folder)
    copy = tmp_path_factory.mktemp("other") / "imagenet"
    shutil.copytree(folder, copy)
    assert load_images("imagenet", copy).sha256 == first.sha256
    file = copy / "val" / CLASSES[1] / "a1.JPEG"
    file.rename(file.with_name("c1.JPEG"))
    renamed = load_images("imagenet", copy).sha256
    file.with_name("c1.JPEG").rename(file)
    file.write_bytes(file.read_bytes() + b"\0")
    longer = load_images("imagenet", copy).sha256
    assert len({first.sha256, renamed, longer}) == 3


def refused(path: Path | None) -> str:
    with pytest.raises(InputError) as caught:
        load_images("imagenet", path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_folders_of_another_make_are_named(folder: Path) -> None:
    assert "not downloaded" in refused(None)
    assert f"{folder / 'nowhere'}: no such" in refused(folder / "nowhere")
    assert f"{folder / 'train' / 'list.txt'}: no folder train in it" in refused(folder / "train" / "list.txt")
    (folder / "val").rename(folder / "test")
    assert f"{folder}: no folder val in it" in refused(folder)
    (folder / "test").rename(folder / "val")
    (folder / "train").rename(folder / "training")
    assert f"{folder}: no folder train in it" in refused(folder)
    (folder / "train").mkdir()
    assert f"{folder / 'train'}: no folders in it" in refused(folder)


def test_empty_classes_are_named(folder: Path) -> None:
    for kind in ("n0_empty", "n1_empty"):
        (folder / "train" / kind).mkdir()
        (folder / "train" / kind / "notes.txt").write_text("")
    assert f"{folder / 'train'}: no pictures in n0_empty, n1_empty;" in refused(folder)
    for number in range(7):
        (folder / "train" / f"m{number}").mkdir()
    assert "no pictures in m0, m1, m2, m3, m4 and 4 more;" in refused(folder)


def test_classes_of_val_that_are_not_those_of_train_are_named(folder: Path) -> None:
    (folder / "val" / CLASSES[2]).rename(folder / "val" / "n9")
    assert f"{folder / 'val'}: not the classes of train: without {CLASSES[2]}, besides n9" in refused(folder)
    shutil.rmtree(folder / "val" / "n9")
    assert refused(folder).endswith(f"not the classes of train: without {CLASSES[2]}")


@pytest.mark.parametrize("damage", ["text", "cut", "empty"])
def test_a_picture_that_cannot_be_decoded_is_named_when_it_is_used(folder: Path, damage: str) -> None:
    file = folder / "train" / CLASSES[1] / "b1.jpg"
    content = file.read_bytes()
    file.write_bytes({"text": b"hello", "cut": content[: len(content) // 2], "empty": b""}[damage])
    images: ImageSet = load_images("imagenet", folder)
    _ = images.x_train[:3]
    for use in (lambda: images.x_train[:], lambda: augmented(images, np.array([0, 3]), np.random.default_rng(0))):
        with pytest.raises(InputError) as caught:
            use()
        message = str(caught.value)
        assert message.startswith(f"{file}: cannot be read as an image (")
        assert message.count(str(file)) == 1
        assert "\n" not in message


def test_the_number_of_classes_is_that_of_the_folder_and_a_config_checks_it(folder: Path) -> None:
    from rminas.config import Config
    from rminas.inputs import load_data

    data = dataclasses.replace(Config().data, name="imagenet", path=str(folder), num_classes=3)
    assert load_data(data).num_classes == 3
    data = dataclasses.replace(data, num_classes=1000)
    with pytest.raises(InputError, match=r"DATA\.NUM_CLASSES is 1000, but .* has 3"):
        load_data(data)
