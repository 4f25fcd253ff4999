"""What an installation may set, with defaults that suit one machine. Every field is explained in docs/settings.md."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of one home, read from `settings.toml` in it.

    Attributes:
        quiet_s: Seconds without a new instance after which an image set closes by itself.
        retrain_delay_s: Quiet seconds after the last verification before retraining starts.
        retrain_longest_wait_s: Retraining starts after this many seconds even if verifications keep coming.
        retrain_least_per_class: Verified patients of each class needed in every split.
        accuracy_threshold: The gate's floor for accuracy on the locked test patients.
        release: How a model the gate let through goes to work: `plan`, `automatic` or `manual`.
        approvers: Different people that it takes to approve a model by hand.
        mlflow: Whether runs and versions are mirrored into MLflow, where that is installed.
        max_tries: How often a job is tried before it becomes a dead letter.
        backoff_s: Wait before the second try; doubles with each further one.
        fold_threads: Threads that fold; 0 for one a core.
        door_processes: Processes that answer HTTP; 0 for one a core, at most four.
        study_quiet_s: Seconds without a new instance after which a study counts as complete.
        hosts: Names this server answers to besides those of the loopback and of `--listen`.
        cors_origins: Web origins whose pages may read from the DICOMweb and streaming doors.
        public_url: Address under which others reach this server; empty to take it from each request.
        ae_title: Our DICOM application entity title.
        peers: Known DICOM application entities, each AET@HOST:PORT.
        dimse_associations: DIMSE associations served at the same time.
        session_hours: Hours after which a sign-in ends.
        idle_sign_out_minutes: Idle minutes after which a person is signed out; 0 for never.
        throttle: Calls a second that the HealthImaging door allows, by operation name; none by default.
        upload_gigabytes: Greatest resumable upload, in units of 10^9 bytes.
        kept_gigabytes: Room for frames in other transfer syntaxes than they are stored in; 0 to keep none.
        uploads_at_once: Unfinished resumable uploads that one caller may have.
        upload_hours: Hours without a new byte after which an unfinished upload is removed; reports are kept as long.
        s3_endpoint: Address of the S3 server for buckets that are not ours; empty for AWS.
        predict_new: Whether the champion looks at every image set that closes.
        write_results: Whether predictions are written into the store as DICOM, a report and a picture.
        drift_images_per_false_alarm: Images between two drift alarms that nothing caused, on average at least.
        retrain_on_drift: Whether a drift alarm starts a retraining.
        external_datastores: Data stores, by id or name, whose image sets are never trained on and only evaluated.
        excluded_datastores: Data stores, by id or name, that no data set takes anything from.
        licences: Under which licence a data store may be used, by its id or name.
        least_certainty: Probability that a label needs to be learned from or tested on.
        storage_budget_gigabytes: Stored bytes, in units of 10^9, above which an alarm goes on; 0 for no budget.
        compute_dollars_per_hour: Price of an hour of the machine that trains; 0 where nobody told it.
        compute_price_source: Where that price is from, and of what day.
        notify: Addresses that alarms are told to, as Apprise writes them; they may hold secrets.
        log_days: Days after which log files of the home are removed.
        incident_patients: Different patients whose images one caller may open within five minutes before that is an
            incident; 0 for any number.
        isolate_patients: Different patients above which whoever opens them so fast is kept out; 0 for never.
        bulk_readers: Ids of principals that may open any number.
        incident_hours: Hours after an incident by which your own people must have been told.
        incident_days: Days after an incident by which the law wants those concerned to have been told.
        training: Hyperparameters that replace the recipe's own, by name.
    """

    quiet_s: float = 20.0
    retrain_delay_s: float = 30.0
    retrain_longest_wait_s: float = 900.0
    retrain_least_per_class: int = 3
    accuracy_threshold: float = 0.85
    release: str = "plan"
    approvers: int = 1
    mlflow: bool = True
    max_tries: int = 8
    backoff_s: float = 1.0
    fold_threads: int = 0
    door_processes: int = 0
    study_quiet_s: float = 60.0
    hosts: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    public_url: str = ""
    ae_title: str = "RADLOOP"
    peers: tuple[str, ...] = ()
    dimse_associations: int = 16
    session_hours: float = 12.0
    idle_sign_out_minutes: float = 15.0
    throttle: Mapping[str, float] = field(default_factory=dict)
    upload_gigabytes: float = 64.0
    kept_gigabytes: float = 2.0
    uploads_at_once: int = 32
    upload_hours: float = 72.0
    s3_endpoint: str = ""
    predict_new: bool = True
    write_results: bool = False
    drift_images_per_false_alarm: float = 1000000.0
    retrain_on_drift: bool = False
    external_datastores: tuple[str, ...] = ()
    excluded_datastores: tuple[str, ...] = ()
    licences: Mapping[str, str] = field(default_factory=dict)
    least_certainty: float = 0.6
    storage_budget_gigabytes: float = 0.0
    compute_dollars_per_hour: float = 0.0
    compute_price_source: str = ""
    notify: tuple[str, ...] = field(default=(), repr=False)
    log_days: float = 30.0
    incident_patients: int = 60
    isolate_patients: int = 200
    bulk_readers: tuple[str, ...] = ()
    incident_hours: float = 24.0
    incident_days: float = 60.0
    training: Mapping[str, str] = field(default_factory=dict)
