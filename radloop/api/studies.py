"""Studies over HTTP: what one adds up to, and that all of it is here."""

from starlette.responses import Response

from radloop.api.operations import Ask, as_json
from radloop.store.studies import Study


def get_study(ask: Ask) -> Response:
    """One study."""
    return as_json(_shape(ask.doors.images_of(ask.principal).study(ask.path["id"])))


def complete_study(ask: Ask) -> Response:
    """End the arrival of instances now instead of after a quiet time."""
    return as_json(_shape(ask.doors.images_of(ask.principal).complete_study(ask.path["id"])))


def _shape(study: Study) -> dict[str, object]:
    return {
        "id": study.id,
        "version": study.version,
        "complete": not study.is_open,
        "study_uid": study.study_uid,
        "modalities": list(study.modalities),
        "series": study.series,
        "instances": study.instances,
    }
