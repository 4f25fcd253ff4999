"""Every error radloop raises on purpose, on one page.

    RadloopError
    ├── InvalidInput            the sender's fault: quarantined or answered with 4xx, never retried
    │   ├── NotDicom                not a Part 10 file
    │   ├── TruncatedFile           the file ends before its own lengths say
    │   ├── MissingAttribute        an identity attribute is absent or empty
    │   ├── InvalidIdentity         an identity UID is not a legal UID
    │   ├── PixelDataMismatch       pixel data and image description contradict each other
    │   ├── IrregularVolume         slices missing, doubled or displaced
    │   ├── UnsupportedPixels       we hold the frame but no codec of ours can decode it
    │   └── InvalidPattern          an event pattern EventBridge would refuse
    ├── NotFound                nothing is stored under that name
    │   └── NoChampion              no model version has been approved yet
    ├── Conflict                the thing has changed, or is not in a state that allows this
    ├── Denied                  the principal may not do this
    ├── Corrupt                 stored bytes fail their seal or checksum
    └── Unavailable             ours: retried, then dead letter, then alarm

Messages name tags, codes and ids. They never carry an attribute's value.
"""


class RadloopError(Exception):
    """Root of the tree; `code` is stable and is what clients and alarms match on."""

    code = "error"


class InvalidInput(RadloopError):
    """What was sent cannot be accepted; sending it again will not help."""

    code = "invalid-input"


class NotDicom(InvalidInput):
    """The bytes are not a DICOM Part 10 file (PS3.10 §7.1)."""

    code = "not-dicom"


class TruncatedFile(InvalidInput):
    """The file ends before the lengths written in it say it does."""

    code = "truncated-file"


class MissingAttribute(InvalidInput):
    """An identity attribute is absent or empty (PS3.5 §7.4.1).

    Args:
        keyword: DICOM keyword of the attribute.
    """

    code = "missing-attribute"

    def __init__(self, keyword: str) -> None:
        super().__init__(f"{keyword} is required and is absent or empty")
        self.keyword = keyword


class InvalidIdentity(InvalidInput):
    """An identity UID breaks the rules for UIDs (PS3.5 §9.1).

    Args:
        keyword: DICOM keyword of the attribute.
    """

    code = "invalid-identity"

    def __init__(self, keyword: str) -> None:
        super().__init__(f"{keyword} is not a legal UID (digits and dots, at most 64 characters)")
        self.keyword = keyword


class PixelDataMismatch(InvalidInput):
    """Pixel data and rows x columns x samples x bits x frames contradict each other."""

    code = "pixel-data-mismatch"


class IrregularVolume(InvalidInput):
    """Slices are missing, doubled or displaced, so they form no even volume."""

    code = "irregular-volume"


class UnsupportedPixels(InvalidInput):
    """No codec of ours decodes these pixels; they are kept and served as they came."""

    code = "unsupported-pixels"


class InvalidPattern(InvalidInput):
    """EventBridge would refuse this event pattern."""

    code = "invalid-pattern"


class NotFound(RadloopError):
    """Nothing is stored under that name."""

    code = "not-found"


class NoChampion(NotFound):
    """No model version is in use, because none has been approved yet."""

    code = "no-champion"


class Conflict(RadloopError):
    """The thing has changed meanwhile, or its state does not allow the step."""

    code = "conflict"


class Denied(RadloopError):
    """The principal may not do this."""

    code = "denied"


class Corrupt(RadloopError):
    """Stored bytes fail their seal or their checksum."""

    code = "corrupt"


class Unavailable(RadloopError):
    """A part of ours does not answer now; worth another try."""

    code = "unavailable"
