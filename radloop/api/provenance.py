"""Who said what of an image set, as other systems read it: a DICOM report or FHIR resources.

What writes them is loaded when the first is asked for, so that a server nobody asks stays as it was.
"""

import orjson
from starlette.responses import Response

from radloop.api.operations import Ask, as_json
from radloop.core.errors import InvalidInput
from radloop.core.ports import AuditEntry
from radloop.reading.blinding import Eyes

DICOM_TYPE, FHIR_TYPE = "application/dicom", "application/fhir+json"
FORMATS, FHIR_VERSIONS = ("sr", "fhir"), ("4.0", "5.0")


def get_provenance(ask: Ask) -> Response:
    """Every read, every label and what a model said, as a report or as resources; it leaves the house, and is audited.

    Who must still read before learning what others said is told of their own reads alone.
    """
    from radloop.results.account import account_of  # noqa: PLC0415 — see above

    platform, identity = ask.doors.platform, ask.path["id"]
    wanted, version = ask.query.get("format", "sr"), ask.query.get("fhir_version", "4.0")
    if wanted not in FORMATS:
        raise InvalidInput(f"format must be one of {', '.join(FORMATS)}")
    if version not in FHIR_VERSIONS:
        raise InvalidInput(f"fhir_version must be one of {', '.join(FHIR_VERSIONS)}")
    image_set = ask.doors.images_of(ask.principal).get(identity, "image.export")
    is_shut = Eyes.of(ask.principal, platform.policy).are_shut(platform.records, image_set)
    account = account_of(platform.records, platform.models, image_set, unseen_by=ask.principal.id if is_shut else None)
    if wanted == "sr":
        from radloop.dicom.report import report_file  # noqa: PLC0415 — see above
        from radloop.results.reports import provenance_report  # noqa: PLC0415 — see above

        data, media = report_file(provenance_report(account)), DICOM_TYPE
    else:
        from radloop.results.fhir import bundle_of  # noqa: PLC0415 — see above

        pseudonym = platform.keys.pseudonym(image_set.patient_id)
        data = orjson.dumps(bundle_of(account, pseudonym=pseudonym, version=version))
        media = f"{FHIR_TYPE}; fhirVersion={version}"
    platform.audit.record(AuditEntry(ask.principal.id, "provenance.export", identity))
    name = f"{identity}-provenance.{'dcm' if wanted == 'sr' else 'json'}"
    return Response(data, media_type=media, headers={"Content-Disposition": f'attachment; filename="{name}"'})


def keep_provenance(ask: Ask) -> Response:
    """Put the report into the study it is about, as one more series."""
    from radloop.results import writing  # noqa: PLC0415 — see above

    platform = ask.doors.platform
    image_set = ask.doors.images_of(ask.principal).get(ask.path["id"], "image.write")
    return as_json({"instance": writing.keep_provenance(platform, image_set, by=ask.principal)})
