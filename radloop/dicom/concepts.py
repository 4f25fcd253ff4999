"""Coded concepts: what reports call things (PS3.3 §8, PS3.16).

Each code was looked up: those of DCM, NCIt and UCUM in PS3.16 Annex D and its context groups, as pydicom's dictionary
carries them; those of SNOMED CT in the DICOM subset where it has them (CID 6170 lobes, CID 244 laterality, CID 240
presence, CID 100 procedures), else in SNOMED CT International. What no public scheme has is a code of ours, told apart
by the scheme `99RADLOOP`, and every report that uses one says what the scheme is (PS3.3 C.12.1.1.7).
"""

from collections.abc import Mapping
from typing import Final, NamedTuple


class Concept(NamedTuple):
    """A code, the scheme it stands in (CodingSchemeDesignator), and what it means in words."""

    code: str
    scheme: str
    meaning: str


class Site(NamedTuple):
    """Where a finding is: a structure, its side and its spread, as far as they are told."""

    structure: Concept
    side: Concept | None = None
    spread: Concept | None = None


OURS: Final = "99RADLOOP"
OUR_SCHEME_NAME: Final = "Concepts of radloop"

# The finding, and whether it is there
PNEUMONIA: Final = Concept("233604007", "SCT", "Pneumonia")
PRESENT: Final = Concept("52101004", "SCT", "Present")  # CID 240
ABSENT: Final = Concept("272519000", "SCT", "Absent")  # CID 240
UNDETERMINED: Final = Concept("121059", "DCM", "Presence Undetermined")
CERTAINTY: Final = Concept("246103008", "SCT", "Certainty")
CONFIDENCES: Final[Mapping[str, Concept]] = {
    "low": Concept("62482003", "SCT", "Low"),
    "medium": Concept("255508009", "SCT", "Medium"),
    "high": Concept("75540009", "SCT", "High"),
}
YES: Final = Concept("373066001", "SCT", "Yes")  # CID 230
NO: Final = Concept("373067005", "SCT", "No")  # CID 230

# Where
LUNG: Final = Concept("39607008", "SCT", "Lung")
RIGHT: Final = Concept("24028007", "SCT", "Right")  # CID 244
LEFT: Final = Concept("7771000", "SCT", "Left")  # CID 244
BILATERAL: Final = Concept("51440002", "SCT", "Bilateral")  # CID 244
DIFFUSE: Final = Concept("19648000", "SCT", "Diffuse")
_UPPER = Concept("45653009", "SCT", "Upper lobe of lung")  # CID 6170
_MIDDLE = Concept("72481006", "SCT", "Middle lobe of right lung")  # CID 6170
_LOWER = Concept("90572001", "SCT", "Lower lobe of lung")  # CID 6170
_LINGULA = Concept("50837003", "SCT", "Lingula of left lung")
SIDES: Final[Mapping[str, Concept]] = {"left": LEFT, "right": RIGHT, "both": BILATERAL}
SITES: Final[Mapping[str, Site]] = {
    "RUL": Site(_UPPER, RIGHT),
    "RML": Site(_MIDDLE, RIGHT),
    "RLL": Site(_LOWER, RIGHT),
    "LUL": Site(_UPPER, LEFT),
    "LINGULA": Site(_LINGULA, LEFT),
    "LLL": Site(_LOWER, LEFT),
    "BILATERAL": Site(LUNG, BILATERAL),
    "DIFFUSE": Site(LUNG, None, DIFFUSE),
}
"""The sites of `core.images.SITES`, coded."""

# Figures
PROBABILITY: Final = Concept("122157", "DCM", "Probability")
NO_UNITS: Final = Concept("1", "UCUM", "no units")  # CID 7181
THRESHOLD: Final = Concept("threshold", OURS, "Probability from which the finding is called present")
READS: Final = Concept("reads", OURS, "Number of reads")
OUTSIDE: Final = Concept("outside", OURS, "Outside of what the model was trained on")
REASON: Final = Concept("reason", OURS, "Reason of the decision")
STEP: Final = Concept("step", OURS, "Step of the label's history")
NOTICE: Final = Concept("notice", OURS, "Notice")

# Who
READER: Final = Concept("C28747", "NCIt", "Reader")  # CID 7453
ADJUDICATOR: Final = Concept("C96561", "NCIt", "Adjudicator")  # CID 7453
ARTIFICIAL_INTELLIGENCE: Final = Concept("123110", "DCM", "Artificial Intelligence")  # CID 7162

# What was done
PROCEDURES: Final[Mapping[str, Concept]] = {
    "CT": Concept("169069000", "SCT", "CT of chest"),
    "CR": Concept("399208008", "SCT", "Plain chest X-ray"),
    "DX": Concept("399208008", "SCT", "Plain chest X-ray"),
}
IMAGING: Final = Concept("363679005", "SCT", "Imaging procedure")  # CID 100


def site_of(site: str | None, laterality: str | None) -> Site | None:
    """The coded site of a finding: its lobe, or the lung on the side that is told; None where nothing is.

    Args:
        site: A key of `core.images.SITES`, or None.
        laterality: `left`, `right`, `both` or None; a lobe has its own side, whatever is told beside it.

    >>> site_of("RLL", None).side.meaning, site_of(None, "both").structure.meaning, site_of(None, None)
    ('Right', 'Lung', None)
    """
    known = SITES.get(site or "")
    side = SIDES.get(laterality or "")
    if known is None:
        return None if side is None else Site(LUNG, side)
    return known if known.side is not None else known._replace(side=side)
