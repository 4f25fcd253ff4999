"""The IAM linters find what they are there for: what the brief itself and public attempts at it got wrong."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = Path(os.environ.get("RADLOOP_LAB", ROOT / ".lab")) / "iam" / "bin" / "python"


def role(name: str, **statement: Any) -> dict[str, Any]:
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]}
    return {"resource": f"aws_iam_role_policy.{name}", "type": "aws_iam_role_policy", "policy": policy}


@pytest.fixture(scope="module")
def found() -> dict[str, set[str]]:
    """Names of findings by the policy they are about."""
    if not PYTHON.exists():
        pytest.skip("the IAM linters are not here: python tools/check_infra.py --setup makes them")
    policies = [
        role("invented", Action=["healthimaging:CreateImageSet"], Resource="*"),
        role("misspelt", Action="medical-imaging:CreateImageSet", Resource="*"),
        role("wildcard", Action=["s3:*"], Resource="*"),
        role("bucket", Action=["s3:GetObject"], Resource=["arn:aws:s3:::radloop-training-data-dev-123456789012"]),
        role("everything", Action=["s3:GetObject"], Resource="*"),
        role(
            "narrow",
            Action=["s3:GetObject"],
            Resource=["arn:aws:s3:::radloop-training-data-dev-123456789012/verified/*"],
        ),
        {**role("refusal", Action=["s3:*"], Resource="*", Effect="Deny"), "type": "aws_s3_bucket_policy"},
    ]
    done = subprocess.run(
        [PYTHON, ROOT / "tools" / "iam_findings.py"],
        input=json.dumps(policies),
        capture_output=True,
        text=True,
        check=True,
    )
    names: dict[str, set[str]] = {}
    for each in json.loads(done.stdout.splitlines()[-1]):
        names.setdefault(each["resource"].rpartition(".")[2], set()).add(each["id"])
    return names


@pytest.mark.parametrize(
    ("policy", "finding"),
    [
        ("invented", "UNKNOWN_ACTION"),
        ("misspelt", "UNKNOWN_ACTION"),
        ("wildcard", "WILDCARD_ACTION"),
        ("bucket", "RESOURCE_MISMATCH"),
        ("everything", "DataExfiltration"),
    ],
)
def test_what_is_wrong_is_found(found: dict[str, set[str]], policy: str, finding: str) -> None:
    assert finding in found.get(policy, set())


def test_a_narrow_policy_and_a_refusal_are_left_alone(found: dict[str, set[str]]) -> None:
    assert {"narrow", "refusal"}.isdisjoint(found)
