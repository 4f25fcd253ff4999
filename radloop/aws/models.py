"""The model ledger as SageMaker's Model Registry shows it: one model package a version, and what people did there.

The ledger stays the truth. A package is made for each version, its approval status follows the ledger, and
`RecordModels(records, clock, is_mirrored=True, told=packages.tell)` keeps both together. What somebody decides in
SageMaker by hand counts only once the ledger says the same: `reconcile` sees it, records it where it knows the person
and the person may, or else holds the version and puts SageMaker back.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from radloop.aws.sagemaker import Places, call, pages
from radloop.core.errors import Conflict, Denied, InvalidInput, RadloopError
from radloop.core.identity import SYSTEM, Principal, derived_id
from radloop.core.ports import AuditEntry, Change, Models, ModelVersion, Put, Reason, Records, Row
from radloop.core.tables import MODEL_PACKAGES
from radloop.registry.ledger import APPROVED, PENDING, REJECTED

BY_HAND: Final = "decided-elsewhere"
"""Why a version waits that somebody decided in SageMaker without our knowing the person, or without the right to."""

CONTENT_TYPES: Final = ("application/dicom", "application/x-npy")
REALTIME: Final = ("ml.m5.large", "ml.m5.xlarge", "ml.c5.large", "ml.c5.xlarge")
TRANSFORM: Final = ("ml.m5.xlarge",)

_LONGEST_VALUE: Final = 256
_FOREIGN: Final = re.compile(r"[^\w .:/=+\-@]")
_LINEAGE: Final = (
    "snapshot",
    "policy",
    "champion",
    "code_version",
    "weights_sha256",
    "model_sha256",
    "training_data_date",
    "training_instances",
    "training_minutes",
    "training_framework",
)
_MEASURED: Final = ("accuracy", "roc_auc")
_TAKEN_BY: Final = {"inference_framework": "ONNX Runtime", "compatible_endpoints": "real-time batch-transform"}
_SENTENCE: Final = "The version was {} in SageMaker by hand; approve or reject it in radloop."
_STRANGER: Final[RadloopError] = Denied("whoever did it is nobody that people.json names for certain")
_NOT_DECIDED: Final[RadloopError] = Conflict("a decision is not taken back by setting it back to waiting")


@dataclass(frozen=True, slots=True)
class ByHand:
    """A decision that somebody took in SageMaker.

    Attributes:
        status: What the package was set to.
        by: Our person; None where nobody of ours has that identity.
        arn: Who it was as far as AWS tells: of an IAM identity or a user profile; empty where it does not tell.
        is_recorded: Whether the ledger has it now, as a decision or as one of the approvals that it takes.
    """

    version: int
    status: str
    by: Principal | None
    arn: str = ""
    is_recorded: bool = False


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What `reconcile` found and did.

    Attributes:
        made: Versions that had no package.
        updated: Versions whose package told something else than the ledger.
        by_hand: Decisions taken in SageMaker.
        strangers: Packages of the group that belong to no version, by their ARN.
    """

    made: tuple[int, ...] = ()
    updated: tuple[int, ...] = ()
    by_hand: tuple[ByHand, ...] = ()
    strangers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModelPackages:
    """The packages of one group.

    Attributes:
        client: Of SageMaker.
        records: Where it is kept which package belongs to a version, and what it was told last.
        group: Name of the model package group; it must exist.
        image: Address of the inference image.
        places: Where blobs lie in S3.
        person: Our person by the ARN of an IAM identity or SageMaker user profile.
    """

    client: Any
    records: Records
    group: str
    image: str
    places: Places
    person: Callable[[str], Principal | None] = lambda _: None

    def tell(self, model: ModelVersion) -> None:
        """Make or update the package of one version; telling the same twice changes nothing.

        Raises:
            NotFound: The group is not there.
            Denied: We may not write to it.
            Unavailable: SageMaker does not answer now.
        """
        row = self.records.get(MODEL_PACKAGES, str(model.version))
        if row is None:
            self._make(model)
        elif row.document["told"] != _told(model):
            self._update(model, row)

    def take_in(
        self, models: Models, arn: str, *, execution: str, metrics: Mapping[str, Any], lineage: Mapping[str, Any]
    ) -> ModelVersion:
        """Enter into the ledger what the pipeline's own step Register put into the group.

        Args:
            models: The ledger.
            arn: Of the package.
            execution: Our id of the execution that made it.
            metrics: Plain values of its evaluation.
            lineage: What is known of it besides the package's own metadata.

        Raises:
            NotFound: There is no such package.
            InvalidInput: The package names no model in S3.
        """
        package = self.read(arn)
        told = dict(package.get("CustomerMetadataProperties", {}))
        container = package.get("InferenceSpecification", {}).get("Containers", [{}])[0]
        report = package.get("ModelMetrics", {}).get("ModelQuality", {}).get("Statistics", {}).get("S3Uri", "")
        before = models.of_execution(execution)
        if before is None:
            self._link(arn, f"execution/{execution}", {})
            before = models.register(
                execution=execution,
                artifact=self.places.key(str(container.get("ModelDataUrl", ""))),
                metrics=metrics,
                lineage={**told, **lineage, "execution": execution, **self._reports(report)},
            )
        self.tell(before)
        return before

    def read(self, arn: str) -> dict[str, Any]:
        """A package as SageMaker describes it.

        Raises:
            NotFound: There is no such package.
        """
        return dict(call(self.client.describe_model_package, ModelPackageName=arn))

    def package_of(self, version: int) -> str | None:
        """The ARN of a version's package, where it has one."""
        row = self.records.get(MODEL_PACKAGES, str(version))
        return None if row is None else str(row.document["arn"])

    def reconcile(self, models: Models, record: Callable[[ByHand], None] | None = None) -> Reconciled:
        """Bring both together again: packages that lack or tell too little, and decisions that people took there.

        Args:
            models: The ledger.
            record: Decides in the name of the person, with all that this asks of a person; what it raises as
                `Conflict`, `Denied` or `InvalidInput` leaves the decision unrecorded. Without it nothing is recorded.

        Raises:
            NotFound: The group is not there.
            Unavailable: SageMaker does not answer now.
        """
        listed = pages(self.client.list_model_packages, "ModelPackageSummaryList", ModelPackageGroupName=self.group)
        standing = {each["ModelPackageArn"]: each.get("ModelApprovalStatus") for each in listed}
        rows = {row.document["arn"]: row for row in self.records.find(MODEL_PACKAGES) if row.key.isdecimal()}
        by_hand = [
            self._decided(models, rows[arn], str(status), record)
            for arn, status in sorted(standing.items())
            if arn in rows and status != rows[arn].document["told"]["status"]
        ]
        versions = {str(model.version): model for model in models.versions()}
        known = {row.key for row in rows.values()}
        made = [model for key, model in versions.items() if key not in known]
        updated = [
            versions[row.key]
            for row in self.records.find(MODEL_PACKAGES)
            if row.key in versions and row.key in known and row.document["told"] != _told(versions[row.key])
        ]
        for model in (*made, *updated):
            self.tell(model)
        return Reconciled(
            made=_numbers(made),
            updated=_numbers(updated),
            by_hand=tuple(by_hand),
            strangers=tuple(sorted(set(standing) - set(rows))),
        )

    def _decided(self, models: Models, row: Row, status: str, record: Callable[[ByHand], None] | None) -> ByHand:
        """Record a decision that was taken in SageMaker, or hold the version; then SageMaker is told what holds."""
        version = int(row.key)
        found = self._hand(version, status, self.read(row.document["arn"]))
        why = _STRANGER if found.by is None else _NOT_DECIDED
        if found.by is not None and record is not None and status != PENDING:
            try:
                record(found)
            except (Conflict, Denied, InvalidInput) as error:
                why = error
            else:
                found = replace(found, is_recorded=_has(models.get(version), found.by.id, status))
        if not found.is_recorded:
            told = Reason(BY_HAND, _SENTENCE.format(_word(status)))
            models.hold(version, [told, Reason(why.code, f"{str(why)[:1].upper()}{str(why)[1:]}.")])
        who = SYSTEM.id if found.by is None else found.by.id
        outcome = "success" if found.is_recorded else "refused"
        self.records.commit(
            Change(audit=[AuditEntry(found.arn or who, "registry.by-hand", f"model-{version}", outcome)])
        )
        self._update(models.get(version), self.records.get(MODEL_PACKAGES, row.key) or row)
        return found

    def _hand(self, version: int, status: str, package: Mapping[str, Any]) -> ByHand:
        """Who changed a package last."""
        by = package.get("LastModifiedBy", {})
        arns = [str(arn) for arn in (by.get("UserProfileArn"), by.get("IamIdentity", {}).get("Arn")) if arn]
        persons = [(arn, person) for arn in arns if (person := self.person(arn)) is not None]
        arn, person = persons[0] if persons else (arns[0] if arns else "", None)
        return ByHand(version, status, person, arn)

    def _make(self, model: ModelVersion) -> None:
        """Make the package of a version. The token makes two that race, or a repeat after a crash, one package."""
        taken = self.records.get(MODEL_PACKAGES, f"execution/{model.lineage['execution']}")
        if taken is not None:  # the pipeline made it
            self._update(model, taken)
            return
        report = self.places.uri(model.beside("evaluation.json"))
        answer = call(
            self.client.create_model_package,
            ModelPackageGroupName=self.group,
            ModelPackageDescription=f"radloop model version {model.version}",
            InferenceSpecification={
                "Containers": [{"Image": self.image, "ModelDataUrl": self.places.uri(model.artifact)}],
                "SupportedContentTypes": list(CONTENT_TYPES),
                "SupportedResponseMIMETypes": ["application/json"],
                "SupportedRealtimeInferenceInstanceTypes": list(REALTIME),
                "SupportedTransformInstanceTypes": list(TRANSFORM),
            },
            ModelMetrics={"ModelQuality": {"Statistics": {"ContentType": "application/json", "S3Uri": report}}},
            CustomerMetadataProperties=_properties(model),
            ModelApprovalStatus=model.status,
            ClientToken=derived_id("model-package", self.group, str(model.version), str(model.lineage["execution"])),
        )
        self._link(answer["ModelPackageArn"], str(model.version), _told(model))

    def _update(self, model: ModelVersion, row: Row) -> None:
        """Tell a package what the ledger says of its version."""
        call(
            self.client.update_model_package,
            ModelPackageArn=row.document["arn"],
            ModelApprovalStatus=model.status,
            ApprovalDescription=_description(model),
            CustomerMetadataProperties=_properties(model),
        )
        self._link(row.document["arn"], str(model.version), _told(model))

    def _link(self, arn: str, key: str, told: Mapping[str, Any]) -> None:
        """Keep which package belongs to a version, and what it was told."""
        row = self.records.get(MODEL_PACKAGES, key)
        document = {"arn": arn, "told": dict(told)}
        put = Put(MODEL_PACKAGES, key, document, {"arn": arn}, expected=0 if row is None else row.revision)
        try:
            self.records.commit(Change(writes=[put]))
        except Conflict:  # another was faster and told the same or something newer; `reconcile` looks again
            return

    def _reports(self, uri: str) -> dict[str, str]:
        return {"reports": self.places.key(uri).rpartition("/")[0]} if uri else {}


def _has(model: ModelVersion, by: str, status: str) -> bool:
    """Whether the ledger has a decision, or an approval that waits for another person's."""
    return model.status == status or (status == APPROVED and model.status == PENDING and by in model.approvals)


def _told(model: ModelVersion) -> dict[str, Any]:
    """All of a version that its package tells and that may change."""
    return {"status": model.status, "description": _description(model), "properties": _properties(model)}


def _description(model: ModelVersion) -> str:
    if model.status == PENDING:
        held = ", ".join(dict.fromkeys(each.code for each in model.held))
        return f"radloop waits for a person: {held}" if held else "radloop has not decided yet"
    return f"{_word(model.status)} in radloop by {model.decided_by} at {model.decided_at}"


def _properties(model: ModelVersion) -> dict[str, str]:
    """Customer metadata: which version it is, what it was made of, how good it is, what takes it, what it does now.

    SageMaker takes 50 of at most 256 characters, which are letters, digits, spaces and `_.:/=+-@` (API Reference,
    `CreateModelPackage`).
    """
    lineage = {name: model.lineage[name] for name in _LINEAGE if model.lineage.get(name) not in {None, ""}}
    measured = {name: f"{model.metrics[name]:.4f}" for name in _MEASURED if _is_number(model.metrics.get(name))}
    values = {
        "version": model.version,
        "execution": model.lineage["execution"],
        **lineage,
        **measured,
        **_TAKEN_BY,
        "aliases": " ".join(model.aliases) or "none",
    }
    return {name: _FOREIGN.sub("-", str(value))[:_LONGEST_VALUE] for name, value in values.items()}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _word(status: str) -> str:
    return {APPROVED: "approved", REJECTED: "rejected"}.get(status, "set back")


def _numbers(models: Sequence[ModelVersion]) -> tuple[int, ...]:
    return tuple(sorted(model.version for model in models))
