"""What goes with an image set that is deleted, what stays and why; and the job that deletes where one change cannot.

Every table and every place of blobs stands here, and a test fails for one that does not. `docs/storage.md` tells it
to people.

One machine deletes an image set's records in one commit. Where a change holds no more than a hundred items, the commit
takes the image set away and asks for a job with it: from then on nobody finds the image set, and the job deletes what
hangs on it in many small changes. Who follows a record to its image set finds none meanwhile, as for one that never
was. Whoever writes what hangs on an image set does so under the condition that it stands (`ports.Stands`, or the
revision it was read at), so that nothing comes behind its deletion.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from radloop.core import tables as t
from radloop.core.images import ImageSet
from radloop.core.ports import Delete, Job, Records, Table
from radloop.store.datastores import resource_of

LANE: Final = "assembly"
KIND: Final = "erase"


class By(StrEnum):
    """By what the records or blobs are found that go."""

    ITSELF = "it is the image set's own record"
    COLUMN = "its column `image_set`"
    KEY = "its key is the image set's id"
    RESOURCE = "its key names the image set as a resource"
    INSTANCE = "its key is that of one of the image set's instances"
    STUDY = "the last image set of the study takes it along"
    PACK = "a record of `packs` names it"
    FOLDER = "its folder bears the image set's id"
    FILE = "its file bears the image set's id"
    PAGE = "it shows the image set, and is made again without it when it is asked for"


@dataclass(frozen=True, slots=True)
class Goes:
    """It goes with the image set."""

    by: By


@dataclass(frozen=True, slots=True)
class Stays:
    """It stays when an image set goes.

    Attributes:
        why: As a sentence.
        names_it: Whether it may name an image set by its id; what does not tells of none at all.
        tells_of_patient: Whether it may hold what identifies a patient, for another reason than an image set.
    """

    why: str
    names_it: bool = False
    tells_of_patient: bool = False


_ARRIVING: Final = "It hashes a study on its way in, of which more may come."
_HISTORY: Final = "What happened and who did what is told for ever: ids, times, principals, and no patient."
_OF_MODELS: Final = "What a model rests on: hashes, figures and ids. A model that learned from an image set is retired."
_OF_PEOPLE: Final = "It tells of who uses the installation."
_OF_STORE: Final = "It belongs to a data store, not to an image set in it."
_FIGURES: Final = "Sums and states of this installation."

TABLES: Final[Mapping[Table, Goes | Stays]] = {
    t.IMAGE_SETS: Goes(By.ITSELF),
    t.STUDIES: Goes(By.STUDY),
    t.SERIES: Goes(By.COLUMN),
    t.INSTANCES: Goes(By.COLUMN),
    t.PACKS: Goes(By.COLUMN),
    t.VERSIONS: Goes(By.COLUMN),
    t.EDITS: Goes(By.KEY),
    t.FRAME_FACTS: Goes(By.COLUMN),
    t.METADATA: Goes(By.COLUMN),
    t.READS: Goes(By.COLUMN),
    t.PREDICTIONS: Goes(By.COLUMN),
    t.SALIENCY: Goes(By.KEY),
    t.TAGS: Goes(By.RESOURCE),
    t.ARRIVALS: Goes(By.INSTANCE),
    t.LABELS: Goes(By.COLUMN),
    t.TOMBSTONES: Stays("It tells that there was an image set, and that it was deleted on purpose.", names_it=True),
    t.DATASTORES: Stays(_OF_STORE),
    t.PROJECTS: Stays(_OF_STORE),
    t.PANELS: Stays("Sums of how readers agree; none of them tells of one image set."),
    t.IMPORTS: Stays("What was asked to be imported, and counts.", tells_of_patient=True),
    t.CLIENT_TOKENS: Stays("What was answered to a request, so that asking again is asking once.", names_it=True),
    t.QUARANTINE: Stays("It never belonged to an image set; somebody releases or discards it.", tells_of_patient=True),
    t.QUARANTINE_LEFT: Stays("What became of a quarantined file.", names_it=True),
    t.EXECUTIONS: Stays(_OF_MODELS, names_it=True),
    t.STEPS: Stays(_OF_MODELS),
    t.LEDGER: Stays(_OF_MODELS, names_it=True),
    t.MODEL_PACKAGES: Stays(_OF_MODELS),
    t.USERS: Stays(_OF_PEOPLE),
    t.CREDENTIALS: Stays(_OF_PEOPLE, tells_of_patient=True),
    t.SESSIONS: Stays(_OF_PEOPLE),
    t.DRAFTS: Stays("An upload and what became of it; it expires.", names_it=True, tells_of_patient=True),
    t.DRAFT_PIECES: Stays("An upload that has not landed; it expires."),
    t.ASKED: Stays("An answer to who waits for it: it goes as it is fetched, or at the next start.", names_it=True),
    t.DRIFT: Stays(
        "The latest answers that drift was measured on; those of a deleted image set leave at the next look.",
        names_it=True,
    ),
    t.RETIRED_PATIENTS: Stays("Pseudonyms of patients who must never be tested on again.", names_it=True),
    t.ALARMS: Stays(_FIGURES),
    t.METRIC_MINUTES: Stays(_FIGURES),
    t.ASSEMBLIES: Stays(_ARRIVING),
    t.BATCHES: Stays(_ARRIVING),
    t.DELIVERIES: Stays("Which events a function has seen; forgotten after days."),
    t.INCIDENTS: Stays("What was noticed, who was told, by when: ids, counts and times for ever, and no patient."),
    t.ISOLATIONS: Stays(_OF_PEOPLE),
}
"""Of every table, what becomes of its records."""

BESIDE: Final[Mapping[str, Stays]] = {
    "events": Stays(_HISTORY, names_it=True),
    "jobs": Stays("What was asked for, so that asking again is asking once.", names_it=True),
    "audit": Stays(_HISTORY, names_it=True),
}
"""Of what substrates keep beside the tables, by the name they have in both."""

BLOBS: Final[Mapping[str, Goes | Stays]] = {
    "image-sets/": Goes(By.PACK),
    "stream/packs/": Goes(By.FOLDER),
    "stream/drafts/": Goes(By.FOLDER),
    "archive/originals/": Goes(By.INSTANCE),
    "training-data/snapshots/*/images/": Goes(By.FILE),
    "preprocessed-data/*/images/": Goes(By.FILE),
    "preprocessed-data/": Stays(_OF_MODELS, names_it=True),
    "model-artifacts/*/pictures/": Goes(By.FILE),
    "model-artifacts/*/report.html": Goes(By.PAGE),
    "model-artifacts/": Stays(_OF_MODELS, names_it=True),
    "training-data/snapshots/": Stays(
        "Manifests: ids, pseudonyms and labels that a model learned from.", names_it=True
    ),
    "training-data/contexts/": Stays("By what a run was judged.", names_it=True),
    "training-data/quarantine/": Stays("It never belonged to an image set.", tells_of_patient=True),
    "training-data/upload/": Stays("It has not landed yet.", tells_of_patient=True),
    "training-data/uploaded/": Stays("It has not landed yet.", tells_of_patient=True),
    "training-data/import/": Stays(
        "Copies for one import job, which goes on until they are gone.", tells_of_patient=True
    ),
    "training-data/imported/": Stays("Reports of import jobs: ids of files and image sets.", names_it=True),
    "training-data/radloop/": Stays("The secret, plans and signatures of an installation on AWS."),
    "drafts/": Stays("An upload that has not landed; it expires.", tells_of_patient=True),
}
"""Of everything below these keys what becomes of it; the longest that fits counts, `*` stands for any folders."""

FOLDERS: Final[Mapping[str, Stays]] = {
    "kept": Stays("Sealed under the data key that goes with the image set; emptied at every start.", names_it=True),
    "scratch": Stays("Arrays of the run that is on; they go when it ends.", names_it=True),
    "logs": Stays("Sealed log lines: ids of ours, for `log_days`.", names_it=True),
    "mlflow": Stays(_FIGURES),
    "keys": Stays("Keys of the installation."),
    "shared": Stays("Counts and hashes of the server that runs."),
}
"""Of the folders of a home beside `objects`; none of them holds a patient's name or id."""

HANGING: Final = tuple(
    table for table, fate in TABLES.items() if isinstance(fate, Goes) and fate.by in {By.COLUMN, By.KEY}
)
"""Tables whose records are found by the image set's id alone. Labels come last: by them copies are found."""


def first_to_go(image_set: ImageSet) -> list[Delete]:
    """What is deleted in the change that takes an image set away, however small that has to be."""
    return [
        Delete(t.IMAGE_SETS, image_set.id),
        Delete(t.TAGS, resource_of(image_set.datastore, image_set.id)),
    ]


def hanging(records: Records, table: Table, image_set: str, *, limit: int | None = None) -> list[Delete]:
    """What deletes the records of one of `HANGING` that hang on an image set; at most `limit` of them."""
    fate = TABLES[table]
    if isinstance(fate, Goes) and fate.by is By.KEY:
        return [Delete(table, image_set)] if records.get(table, image_set, columns=()) is not None else []
    return [Delete(table, row.key) for row in records.find(table, {"image_set": image_set}, limit=limit)]


def fate_of(key: str) -> Goes | Stays | None:
    """What becomes of a blob, by its key; None for one of a place that is not declared.

    >>> fate_of("preprocessed-data/e1/train/images/abc.npy")
    Goes(by=<By.FILE: "its file bears the image set's id">)
    """
    fitting = [place for place in BLOBS if _is_below(key, place)]
    return BLOBS[max(fitting, key=len)] if fitting else None


def _is_below(key: str, place: str) -> bool:
    front, star, rest = place.partition("*/")
    return key.startswith(front) and (not star or f"/{rest}" in key[len(front) - 1 :])


def asked_for(image_set: str, part: int = 0) -> Job:
    """The job that deletes what hangs on a deleted image set; `part` counts the calls that it took before."""
    payload = {"image_set": image_set, "part": part}
    return Job(f"{KIND}-{image_set}-{part}", LANE, KIND, payload, trace=image_set)
