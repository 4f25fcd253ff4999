"""Every function a rule can name as its target."""

from collections.abc import Callable, Mapping

from radloop.core.events import Event
from radloop.core.platform import Platform
from radloop.functions import (
    drift,
    error_logging,
    image_ingestion,
    model_evaluation,
    model_registry,
    notification,
    pipeline_trigger,
    prediction,
)

FUNCTIONS: Mapping[str, Callable[[Event, Platform], None]] = {
    "image_ingestion": image_ingestion.handle,
    "pipeline_trigger": pipeline_trigger.handle,
    "model_evaluation": model_evaluation.handle,
    "model_registry": model_registry.handle,
    "prediction": prediction.handle,
    "drift": drift.handle,
    "drift_retraining": drift.handle_alarm,
    "error_logging": error_logging.handle,
    "notification": notification.handle,
}
