"""Image data sets from their own formats: what is read, and what is said about files that are not right."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest

from common.datasets import data_set, imagenet16
from common.datasets.images import ImageSet, load_images
from common.errors import InputError


def arrays(classes: int, count: int | None = None, size: int = 32, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    n = count or classes
    return {
        "x_train": rng.integers(256, size=(n, size, size, 3), dtype=np.uint8),
        "y_train": np.arange(n) % classes,
        "x_test": rng.integers(256, size=(7, size, size, 3), dtype=np.uint8),
        "y_test": np.arange(7) % classes,
    }


def save(folder: Path, **content: np.ndarray) -> Path:
    path = folder / "images.npz"
    np.savez(path, **content)
    return path


def same_images(images: ImageSet, expected: dict[str, np.ndarray]) -> None:
    for key, value in expected.items():
        np.testing.assert_array_equal(getattr(images, key), value)
        assert getattr(images, key).dtype == (np.uint8 if key.startswith("x") else np.int64)


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_an_npz_gives_its_arrays_with_the_published_normalisation(name: str, tmp_path: Path) -> None:
    content = arrays(data_set(name).num_classes)
    images = load_images(name, save(tmp_path, **content, class_names=np.array(["a"])))
    same_images(images, content)
    mean = {"cifar10": (0.485, 0.456, 0.406), "cifar100": (0.50708, 0.48655, 0.44092)}[name]
    assert (images.mean, images.num_classes, images.image_size) == (mean, data_set(name).num_classes, 32)


@pytest.mark.parametrize(
    ("name", "classes", "change", "message"),
    [
        ("cifar10", 10, {"y_train": None}, "no array 'y_train'"),
        ("cifar10", 100, {}, "train label 10 (row 10), CIFAR-10 has 10 classes"),
        ("cifar100", 10, {}, "training images of 10 classes, CIFAR-100 has 100"),
        ("cifar10", 10, {"x_test": np.zeros((7, 28, 28, 3), np.uint8)}, "test images are uint8 (7, 28, 28, 3)"),
        ("cifar10", 10, {"x_train": np.zeros((10, 32, 32, 3), np.float32)}, "train images are float32"),
        ("cifar10", 10, {"y_test": np.zeros(6, np.int64)}, "test labels are int64 (6,), needed are 7 integers"),
        ("cifar10", 10, {"y_test": np.full(7, -1)}, "test label -1 (row 0)"),
    ],
)
def test_an_npz_that_does_not_fit_is_named_with_what_is_wrong(
    name: str, classes: int, change: dict[str, np.ndarray | None], message: str, tmp_path: Path
) -> None:
    content = {key: value for key, value in {**arrays(classes), **change}.items() if value is not None}
    path = save(tmp_path, **content)
    with pytest.raises(InputError) as caught:
        load_images(name, path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_files_that_are_no_npz_of_images_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("hello")
    (tmp_path / "cut.npz").write_bytes(save(tmp_path, **arrays(10)).read_bytes()[:5000])
    np.save(tmp_path / "plain.npy", np.zeros(3))
    np.savez(tmp_path / "objects.npz", **{key: np.array([{}], dtype=object) for key in arrays(10)})  # type: ignore[arg-type]
    for name in ("text.npz", "cut.npz", "plain.npy", "objects.npz"):
        with pytest.raises(InputError, match=r"not an \.npz of images"):
            load_images("cifar10", tmp_path / name)
    with pytest.raises(InputError, match="no such file"):
        load_images("cifar10", tmp_path / "none.npz")


def test_an_unknown_data_set_is_answered_with_the_known_ones() -> None:
    with pytest.raises(InputError, match="'mnist'; choose from cifar10"):
        load_images("mnist")


# torchvision -------------------------------------------------------------------------------------------------------


@pytest.fixture
def torchvision_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, dict[str, np.ndarray]]:
    """CIFAR-10 in the layout of the official archive, a few images a file, md5 sums that torchvision accepts."""
    from torchvision.datasets import CIFAR10

    content = arrays(10, count=20)
    folder = tmp_path / CIFAR10.base_folder
    folder.mkdir()

    def put(name: str, value: object) -> tuple[str, str]:
        data = pickle.dumps(value)
        (folder / name).write_bytes(data)
        return name, hashlib.md5(data).hexdigest()

    def batch(name: str, x: np.ndarray, y: np.ndarray) -> tuple[str, str]:
        return put(name, {"data": x.transpose(0, 3, 1, 2).reshape(len(x), -1), "labels": y.tolist()})

    halves = [slice(0, 10), slice(10, 20)]
    train = [batch(f"data_batch_{i}", content["x_train"][h], content["y_train"][h]) for i, h in enumerate(halves)]
    meta = put("batches.meta", {"label_names": list("abcdefghij")})
    monkeypatch.setattr(CIFAR10, "train_list", train)
    monkeypatch.setattr(CIFAR10, "test_list", [batch("test_batch", content["x_test"], content["y_test"])])
    monkeypatch.setattr(CIFAR10, "meta", {"filename": meta[0], "key": "label_names", "md5": meta[1]})
    return tmp_path, content


def test_the_official_folder_and_an_npz_of_the_same_images_are_one_data_set(
    torchvision_folder: tuple[Path, dict[str, np.ndarray]],
) -> None:
    root, content = torchvision_folder
    images = load_images("cifar10", root)
    same_images(images, content)
    assert load_images("cifar10", root / "cifar-10-batches-py").sha256 == images.sha256
    assert load_images("cifar10", save(root, **content)).sha256 == images.sha256
    content["x_test"][3, 2, 1, 0] ^= 1
    assert load_images("cifar10", save(root, **content)).sha256 != images.sha256


def test_a_damaged_or_absent_official_folder_is_said(torchvision_folder: tuple[Path, dict[str, np.ndarray]]) -> None:
    root, _ = torchvision_folder
    with pytest.raises(InputError, match="no folder cifar-100-python"):
        load_images("cifar100", root)
    (root / "cifar-10-batches-py" / "test_batch").write_bytes(b"damaged")
    with pytest.raises(InputError, match="missing or damaged"):
        load_images("cifar10", root)


def test_no_network_for_the_download_is_one_line_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise URLError("Name or service not known")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", fail)
    with pytest.raises(InputError, match=r"cannot be downloaded .*Name or service not known.*npz") as caught:
        load_images("cifar100")
    assert "\n" not in str(caught.value)


# ImageNet16-120 ----------------------------------------------------------------------------------------------------


@pytest.fixture
def imagenet_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Eleven small batches as the official ones: a row is 3 planes of 16x16, labels 1..1000."""
    rng = np.random.default_rng(0)
    sums: dict[str, str] = {}
    for index, name in enumerate((*imagenet16.TRAIN_FILES, *imagenet16.TEST_FILES)):
        labels = [*range(1 + index % 10, 131, 10), 1000]
        batch = {"data": rng.integers(256, size=(len(labels), 768), dtype=np.uint8), "labels": labels}
        (tmp_path / name).write_bytes(pickle.dumps(batch))
        sums[name] = hashlib.md5((tmp_path / name).read_bytes()).hexdigest()
    monkeypatch.setattr(imagenet16, "TRAIN_FILES", {name: sums[name] for name in imagenet16.TRAIN_FILES})
    monkeypatch.setattr(imagenet16, "TEST_FILES", {name: sums[name] for name in imagenet16.TEST_FILES})
    return tmp_path


def test_imagenet16_keeps_the_first_120_classes_in_file_order(imagenet_folder: Path) -> None:
    images = load_images("imagenet16_120", imagenet_folder)
    assert sorted(images.y_train) == list(range(120))
    assert images.y_train[:13].tolist() == [*range(0, 120, 10), 1]
    assert images.x_test.shape == (12, 16, 16, 3)
    stored = pickle.loads((imagenet_folder / "train_data_batch_2").read_bytes())["data"][0]
    assert images.x_train[12, 5, 7].tolist() == [stored[plane * 256 + 5 * 16 + 7] for plane in range(3)]


def test_imagenet16_runs_no_pickle_that_is_not_the_published_one(imagenet_folder: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (imagenet_folder / "ran",)

    (imagenet_folder / "train_data_batch_4").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(InputError, match=r"train_data_batch_4: md5 is"):
        load_images("imagenet16_120", imagenet_folder)
    assert not (imagenet_folder / "ran").exists()
    (imagenet_folder / "train_data_batch_4").unlink()
    with pytest.raises(InputError, match="no file train_data_batch_4"):
        load_images("imagenet16_120", imagenet_folder)
    with pytest.raises(InputError, match="give the folder"):
        load_images("imagenet16_120")


def test_the_published_sums_are_there_for_all_eleven_files() -> None:
    sums = {**imagenet16.TRAIN_FILES, **imagenet16.TEST_FILES}
    assert len(sums) == len(set(sums.values())) == 11
    assert all(len(md5) == 32 for md5 in sums.values())


# digits ------------------------------------------------------------------------------------------------------------


def test_digits_are_scaled_to_the_whole_range_and_standardised_by_their_own_moments() -> None:
    images = load_images("digits")
    assert (len(images.x_train), len(images.x_test)) == (1437, 360)
    assert (images.x_train.min(), images.x_train.max()) == (0, 255)
    assert abs(images.x_train.mean() / 255 - images.mean[0]) < 1e-3
    assert abs(images.x_train.std() / 255 - images.std[0]) < 1e-3
    assert np.bincount(images.y_test).min() > 30
    with pytest.raises(InputError, match="comes with scikit-learn"):
        load_images("digits", Path(__file__))


@pytest.mark.shared
def test_the_shared_subsets_are_read(shared_data: Path) -> None:
    for name in ("cifar10", "cifar100"):
        images = load_images(name, shared_data / "cifar" / f"{name}_subset.npz")
        assert (len(images.x_train), len(images.x_test)) == (10_000, 2_000)
