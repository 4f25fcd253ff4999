"""Signers and signatures of a plan as they are kept, and which signature is taken in."""

import json
from typing import Final

from radloop.core.errors import Corrupt, Denied, NotFound
from radloop.core.ports import PlanSignature, PlanSigner
from radloop.registry.plan import sha256_of
from radloop.registry.signatures import is_signed, plan_message

_OF_SIGNER: Final = ("id", "role", "public_key")
_OF_SIGNATURE: Final = ("plan_sha256", "signer", "role", "signature", "at")


def admit(signature: PlanSignature, text: bytes | None, signers: tuple[PlanSigner, ...]) -> None:
    """Take in only a signature of a signer known here, over the plan as it stands.

    Args:
        signature: Handed in.
        text: The plan; None where there is none.
        signers: Whose signatures count.

    Raises:
        NotFound: There is no plan with that SHA-256, which may mean that it was changed meanwhile.
        Denied: It was not made by a signer known here, in this role, over this plan.
    """
    if text is None or sha256_of(text) != signature.plan_sha256:
        raise NotFound(f"there is no plan with the SHA-256 {signature.plan_sha256[:12]}; look at it again")
    signer = next((each for each in signers if each.id == signature.signer), None)
    if signer is None or signer.role != signature.role:
        raise Denied("no signer of that id and role has a key here; radloop pccp register names one")
    message = plan_message(text, signer=signer.id, role=signer.role)
    if not is_signed(signer.public_key, message, signature.signature):
        raise Denied("the signature was not made with the signer's key over this plan")


def read_signers(data: bytes | None, name: str) -> tuple[PlanSigner, ...]:
    """The signers in a file `name`; nobody where there is none.

    Raises:
        Corrupt: It is not written as radloop writes it.
    """
    return tuple(PlanSigner(**each) for each in _listed(data, name, "signers", _OF_SIGNER))


def read_signatures(data: bytes | None, name: str) -> tuple[PlanSignature, ...]:
    """The signatures in a file `name`; none where there is none.

    Raises:
        Corrupt: It is not written as radloop writes it.
    """
    return tuple(PlanSignature(**each) for each in _listed(data, name, "signatures", _OF_SIGNATURE))


def _listed(data: bytes | None, name: str, entry: str, fields: tuple[str, ...]) -> list[dict[str, str]]:
    if data is None:
        return []
    try:
        found: list[dict[str, str]] = json.loads(data)[entry]
        return [{field: str(each[field]) for field in fields} for each in found]
    except (ValueError, KeyError, TypeError):
        raise Corrupt(f"{name} is not written as radloop writes it") from None
