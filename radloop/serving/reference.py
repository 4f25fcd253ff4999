"""The validation part as a model version saw it: what later studies are compared with.

`drift_reference.npz` holds an embedding, a calibrated probability, fifteen statistics and the facts of the header for
every study of the validation part. Here the embeddings are brought down to their principal components, in which both
the distance of one study and the drift of many are measured.
"""

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from radloop.core.errors import Corrupt

COMPONENTS: Final = 32
"""Principal components that are kept, fewer where there are fewer studies."""

_FEWEST: Final = 3


@dataclass(frozen=True, slots=True)
class Reference:
    """What a model version was made from, as far as serving needs it.

    Attributes:
        mean: float32 (2048,), of the embeddings.
        axes: float32 (components, 2048), orthonormal rows, the widest first.
        embedding: float32 (studies, components), in these axes.
        probability: float32 (studies,).
        statistics: float32 (studies, 15); None where the package has none.
        tags: Facts of each study's header; empty where the package has none.
        target: float32 (studies,), posterior of the finding; None where the package has none.
        patient: int32 (studies,), a running number a patient; every study its own where the package has none.
    """

    mean: npt.NDArray[np.float32] = field(repr=False)
    axes: npt.NDArray[np.float32] = field(repr=False)
    embedding: npt.NDArray[np.float32] = field(repr=False)
    probability: npt.NDArray[np.float32] = field(repr=False)
    statistics: npt.NDArray[np.float32] | None = field(repr=False)
    tags: tuple[Mapping[str, str], ...] = field(repr=False)
    target: npt.NDArray[np.float32] | None = field(repr=False)
    patient: npt.NDArray[np.int32] = field(repr=False)

    def __len__(self) -> int:
        return len(self.embedding)

    def project(self, embedding: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """An embedding (2048,) in the components: float32 (components,)."""
        return np.asarray(self.axes @ (embedding - self.mean), dtype=np.float32)


def read_reference(npz: bytes) -> Reference | None:
    """The reference in `drift_reference.npz`; None where it is of too few studies to be one.

    Raises:
        Corrupt: The file cannot be read, or its arrays do not belong together.
    """
    try:
        with np.load(io.BytesIO(npz), allow_pickle=False) as arrays:
            held: dict[str, Any] = {name: arrays[name] for name in arrays.files}
        embedding = np.asarray(held["embedding"], dtype=np.float32)
        count = len(embedding)
        if count < _FEWEST:
            return None
        mean, axes = _axes(embedding)
        return Reference(
            mean=mean,
            axes=axes,
            embedding=np.asarray((embedding - mean) @ axes.T, dtype=np.float32),
            probability=_column(held["probability"], count),
            statistics=_statistics(held, count),
            tags=_tags(held, count),
            target=_column(held["target"], count) if "target" in held else None,
            patient=_of_length(np.asarray(held.get("patient", np.arange(count)), np.int32), count),
        )
    except (KeyError, TypeError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise Corrupt("the drift reference of the model package cannot be used") from error


def _axes(embedding: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Mean and principal axes; each axis points where its largest part is positive, so that there is one answer."""
    mean = embedding.mean(axis=0)
    centred = embedding - mean
    values, vectors = np.linalg.eigh(centred @ centred.T)  # as many rows as studies, far fewer than 2048 as a rule
    order = np.argsort(values)[::-1][: min(COMPONENTS, len(embedding) - 1)]
    order = order[values[order] > 1e-6 * max(float(values.max()), 1e-12)]
    axes = (vectors[:, order] / np.sqrt(values[order])).T @ centred
    largest = np.abs(axes).argmax(axis=1)
    axes *= np.sign(axes[np.arange(len(axes)), largest])[:, None]
    return mean, np.asarray(axes, dtype=np.float32)


def _statistics(held: Mapping[str, Any], count: int) -> npt.NDArray[np.float32] | None:
    values = np.asarray(held.get("statistics", ()), dtype=np.float32)
    return _of_length(values, count) if len(values) else None


def _tags(held: Mapping[str, Any], count: int) -> tuple[Mapping[str, str], ...]:
    listed = json.loads(str(held.get("tags", "[]")))
    if listed and len(listed) != count:
        raise ValueError("as many tags as studies")
    return tuple({str(name): str(value) for name, value in each.items()} for each in listed)


def _column(values: Any, count: int) -> npt.NDArray[np.float32]:
    return _of_length(np.asarray(values, dtype=np.float32).reshape(-1), count)


def _of_length(values: npt.NDArray[Any], count: int) -> npt.NDArray[Any]:
    if len(values) != count:
        raise ValueError("as many rows as studies")
    return values
