"""Every error radloop raises on purpose, on one page.

    RadloopError
    ├── InvalidInput            the sender's fault: quarantined or answered with 4xx, never retried
    │   ├── NotDicom                not a Part 10 file
    │   ├── TruncatedFile           the file ends before its own lengths say
    │   ├── MissingAttribute        an identity attribute is absent or empty
    │   ├── InvalidIdentity         an identity UID is not a legal UID
    │   ├── PixelDataMismatch       pixel data and image description contradict each other
    │   ├── IrregularVolume         slices missing, doubled or displaced
    │   ├── ImportRefused           the image store took other files of the same import and not this one
    │   ├── OutOfScope              the file is of a patient its sender may not know of
    │   ├── UnsupportedPixels       we hold the frame but no codec of ours can decode it
    │   │   └── DoesNotDecode           there is a codec, and it refuses the frame or dies of it
    │   ├── InvalidPattern          an event pattern EventBridge would refuse
    │   ├── TooLarge                more than this installation takes
    │   ├── TooManyElements         a file, or one data set in it, holds more elements than are read
    │   ├── ChecksumMismatch        bytes arrived other than they were sent
    │   ├── BrokenArchive           a zip that contradicts itself, or is none
    │   ├── InvalidPlan             a change control plan that is not written as one
    │   └── BrokenMember            a file in a zip that cannot be taken out of it
    ├── NotFound                nothing is stored under that name
    │   └── NoChampion              no model version has been approved yet
    ├── Conflict                the thing has changed, or is not in a state that allows this
    ├── Unauthenticated         nobody known stands behind the request
    │   ├── InvalidLink             a signed link that is not whole, or not signed for what it is used for
    │   ├── ExpiredLink             a signed link whose time is over
    │   └── RevokedLink             a signed link whose maker may not come in any more
    ├── Throttled               asked too often; worth another try, later
    ├── Denied                  the principal may not do this
    │   ├── SeparationOfDuties      somebody else must do this, because of what the principal did before
    │   └── Blinded                 what others say is not told before one has read it oneself
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


class OutOfScope(InvalidInput):
    """The file is of a patient whom its sender may not know of."""

    code = "out-of-scope"


class ImportRefused(InvalidInput):
    """The image store that we hand files to took others of the same import and not this one."""

    code = "import-refused"


class UnsupportedPixels(InvalidInput):
    """No codec of ours decodes these pixels; they are kept and served as they came."""

    code = "unsupported-pixels"


class DoesNotDecode(UnsupportedPixels):
    """A codec of ours refuses the frame, or dies of it; it is kept and served as it came."""

    code = "does-not-decode"


class InvalidPattern(InvalidInput):
    """EventBridge would refuse this event pattern."""

    code = "invalid-pattern"


class TooLarge(InvalidInput):
    """It is more than this installation takes, or says that it will be."""

    code = "too-large"


class TooManyElements(InvalidInput):
    """A file, or one data set in it, holds more elements than are read.

    Args:
        where: What holds them.
        limit: How many it may hold; it holds more, and nobody has counted how many.
    """

    code = "too-many-elements"

    def __init__(self, where: str, limit: int) -> None:
        told = f"expected {limit} at most, found {limit + 1} and more"
        super().__init__(f"{where} holds more than {limit} elements: {told}")


class ChecksumMismatch(InvalidInput):
    """The bytes that arrived are not those that were sent; nothing of them is kept."""

    code = "checksum-mismatch"


class BrokenArchive(InvalidInput):
    """A zip archive contradicts itself, or is none."""

    code = "broken-archive"


class BrokenMember(InvalidInput):
    """A file in a zip archive cannot be taken out of it: damaged, encrypted or packed in a way we do not know."""

    code = "broken-member"


class InvalidPlan(InvalidInput):
    """A change control plan is not written as one; the message names the line."""

    code = "invalid-plan"


class NotFound(RadloopError):
    """Nothing is stored under that name."""

    code = "not-found"


class NoChampion(NotFound):
    """No model version is in use, because none has been approved yet."""

    code = "no-champion"


class Conflict(RadloopError):
    """The thing has changed meanwhile, or its state does not allow the step."""

    code = "conflict"


class Unauthenticated(RadloopError):
    """Nobody known stands behind the request: no credentials, or such as are wrong, expired or revoked."""

    code = "unauthenticated"


class InvalidLink(Unauthenticated):
    """A signed link is not whole, or was not signed for what it is used for."""

    code = "invalid-link"


class ExpiredLink(Unauthenticated):
    """The time of a signed link is over."""

    code = "expired-link"


class RevokedLink(Unauthenticated):
    """Whoever made a signed link is disabled, revoked or gone."""

    code = "revoked-link"


class Throttled(RadloopError):
    """Asked too often.

    Args:
        retry_after_s: Whole seconds after which asking again makes sense.
    """

    code = "throttled"

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Denied(RadloopError):
    """The principal may not do this."""

    code = "denied"


class Blinded(Denied):
    """What others say of an image set is not told before one has read it oneself."""

    code = "blinded"


class SeparationOfDuties(Denied):
    """Somebody else must do this, because of what the principal did before."""

    code = "separation-of-duties"


class Corrupt(RadloopError):
    """Stored bytes fail their seal or their checksum."""

    code = "corrupt"


class Unavailable(RadloopError):
    """A part of ours does not answer now; worth another try."""

    code = "unavailable"
