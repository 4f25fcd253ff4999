"""A home with a worker, small models in use, and made-up films: what prediction and drift are tested in."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from radloop.core.identity import OWNER
from radloop.core.images import Confidence, Finding, ImageSet, Seen
from radloop.core.ports import ModelVersion, Upload
from radloop.core.tables import PREDICTIONS
from radloop.dicom.make import xray_instance
from radloop.functions.image_ingestion import ingest
from radloop.local.worker import Worker
from radloop.reading.truth import verify
from radloop.wiring import Installation, open_local
from tests.serving.small_model import films, model_package, reference_of

REFERENCE = reference_of(films(120, seed=1))


@dataclass(frozen=True)
class ServingHome:
    installation: Installation
    worker: Worker

    @property
    def platform(self) -> Any:
        return self.installation.platform

    def land(self, film: npt.NDArray[np.uint16], patient: str, *, view: str = "PA") -> str:
        """The id of the closed image set of one film."""
        upload = Upload(xray_instance(film[0], patient_id=patient, view=view))
        (landing,) = ingest([upload], self.platform, by=OWNER)
        assert landing.image_set is not None, landing.sentence
        self.installation.images.complete(landing.image_set, by=OWNER)
        return landing.image_set

    def put_to_work(self, *, bias: float = 0.0, reference: bytes | None = REFERENCE, **metrics: Any) -> ModelVersion:
        """A small model, registered and approved."""
        execution = f"e{len(self.platform.models.versions())}"
        key = f"models/{execution}/model.tar.gz"
        package = model_package(bias=bias, temperature=1.0, reference=reference, has_maps=True)
        self.platform.blobs.put(key, package)
        model = self.platform.models.register(execution=execution, artifact=key, metrics=metrics, lineage={})
        return self.platform.models.decide(model.version, approved=True, by="approver")

    def image_set(self, identity: str) -> ImageSet:
        return self.installation.images.get(identity)

    def read(self, identity: str, *, present: bool) -> None:
        """Ground truth by one reader."""
        finding = Finding(present, None, Confidence.HIGH, "", Seen(0, "lossless"))
        version = self.image_set(identity).version
        verify(self.platform.records, self.platform.clock, identity, finding, version=version, by=OWNER)

    def work(self) -> None:
        """Everything that is due."""
        self.worker.drain(("events", "predict"))

    def rows(self, **where: Any) -> list[Any]:
        return self.platform.records.find(PREDICTIONS, where or None)

    def told(self, kind: str) -> list[Any]:
        return [each.event for each in self.platform.bus.events(limit=10_000) if each.event.detail_type == kind]


@contextmanager
def serving_home(folder: Path, settings: str = "") -> Iterator[ServingHome]:
    (folder / "settings.toml").write_text(f"max_tries = 1\nfold_threads = 1\n{settings}")
    with open_local(folder) as installation:
        yield ServingHome(installation, installation.worker())
