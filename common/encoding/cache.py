"""Features of a large table, encoded once: a file in the cache folder holds them."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from common.encoding.base import EncodedFeatures
from common.errors import InputError
from common.runs.arrays import read_npy_header
from common.runs.files import cache_folder, write_atomic

PROBED = 256  # architectures that are encoded anyway: an encoding that was changed has another file
FEW = 100  # a share less than one in so many is encoded when it is asked for


@dataclass(frozen=True)
class CachedFeatures:
    """What `source` gives, from a file that is written when it is first asked for all but a few."""

    source: EncodedFeatures

    @property
    def shape(self) -> tuple[int, ...]:
        return self.source.shape

    @property
    def groups(self) -> np.ndarray | None:
        return self.source.groups

    def __len__(self) -> int:
        return len(self.source)

    def rows(self, indices: np.ndarray) -> np.ndarray:
        if "_all" not in self.__dict__ and len(indices) * FEW < len(self):  # a training sample: nothing to keep
            return self.source.rows(indices)
        return np.asarray(self._all[indices])

    @cached_property
    def file(self) -> Path:
        """Named by a checksum of the codes, and of how some of them are encoded."""
        source = self.source
        about = [source.encoding.describe(), source.space.name, source.encoding.columns(source.space)]
        checksum = hashlib.sha256(json.dumps(about).encode())
        checksum.update(np.ascontiguousarray(source.codes).tobytes())
        some = np.unique(np.linspace(0, len(self) - 1, PROBED).astype(np.int64))
        checksum.update(np.ascontiguousarray(source.rows(some)).tobytes())
        return (
            cache_folder() / "features" / f"{source.encoding.name}_{source.space.name}_{checksum.hexdigest()[:24]}.npy"
        )

    @cached_property
    def _all(self) -> np.ndarray:
        """(N, *shape), read as it is needed; in memory where no file can be written."""
        try:
            shape, dtype, offset = read_npy_header(self.file)
            if shape == (len(self), *self.shape) and dtype == np.float32:
                return np.memmap(self.file, dtype, "r", offset, shape)
        except (InputError, OSError):
            pass  # not there yet, or damaged: written anew
        made = self.source.rows(np.arange(len(self)))
        with suppress(OSError):  # a full disk, or a folder that may not be written to, costs time only
            write_atomic(self.file, lambda file: np.save(file, made))
        return made
