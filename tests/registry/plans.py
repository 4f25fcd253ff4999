"""A plan that a test may bend, and signers for it."""

from radloop.core.ports import PlanSignature, PlanSigner
from radloop.registry.plan import sha256_of
from radloop.registry.signatures import PrivateKey, plan_message

PLAN = """\
version: 1
name: test
author: author-1
valid: {from: 2026-01-01, until: 2026-12-31}
modifications:
  description: weights by retraining
  may_change: [weights, threshold]
  modalities: [CT, DX]
  sources: [house, clinic]
data_requirements: {description: reads, new_patients: 2, reads_per_label: 1}
protocol:
  description: the pipeline
  code_versions: ["0.1.0"]
  recipe:
    epochs: {from: 1, to: 9}
    image_size: ["64", "96"]
    threads: any
acceptance:
  description: every rule
  policy_sha256: "POLICY"
impact_assessment: {benefits: b, risks: r, mitigations: m, subgroups: s, cumulative: c}
drift_triggers:
  - {monitor: inputs, retrain: true}
  - {monitor: prevalence, retrain: false}
update_procedure: {description: d, release: automatic, after_rollback: hold, rollback: radloop rollback}
signatures: [release-approver, auditor]
""".replace("POLICY", "a" * 64)

KEYS = {name: PrivateKey(bytes([place]) * 32) for place, name in enumerate(("ann", "bob", "author-1", "eve"), start=1)}
ROLES = {"ann": "release-approver", "bob": "auditor", "author-1": "auditor", "eve": "auditor"}
SIGNERS = tuple(PlanSigner(name, ROLES[name], KEYS[name].public_key) for name in ("ann", "bob", "author-1"))
AT = "2026-01-02T00:00:00.000Z"


def signed(text: str | bytes, *names: str) -> tuple[PlanSignature, ...]:
    """Signatures of these over a plan."""
    data = text.encode() if isinstance(text, str) else text
    return tuple(
        PlanSignature(
            plan_sha256=sha256_of(data),
            signer=name,
            role=ROLES[name],
            signature=KEYS[name].sign(plan_message(data, signer=name, role=ROLES[name])).hex(),
            at=AT,
        )
        for name in names
    )
