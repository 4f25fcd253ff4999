"""The Plans port on objects of the bucket for training data.

radloop/pccp.yaml                the change control plan, put there by an administrator
radloop/signers.json             whose signatures count, as `radloop pccp register` writes it; put there likewise
radloop/signatures/<id>.json     a signature of that signer, handed in through the API

Whoever may write the first two decides what is released without a person; no function may.
"""

import json
from dataclasses import asdict
from typing import Final

from radloop.core.errors import NotFound
from radloop.core.ports import Blobs, PlanSignature, PlanSigner
from radloop.registry.signing import admit, read_signatures, read_signers

PLAN: Final = "training-data/radloop/pccp.yaml"
SIGNERS: Final = "training-data/radloop/signers.json"
SIGNATURES: Final = "training-data/radloop/signatures/"


class BlobPlans:
    """The Plans port; it holds nothing, so what is put there counts at once."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    def text(self) -> bytes | None:
        """See `Plans.text`."""
        return self._found(PLAN)

    def signers(self) -> tuple[PlanSigner, ...]:
        """See `Plans.signers`.

        Raises:
            Corrupt: The object of signers cannot be read as one.
        """
        return read_signers(self._found(SIGNERS), "signers.json")

    def signatures(self) -> tuple[PlanSignature, ...]:
        """See `Plans.signatures`.

        Raises:
            Corrupt: The object of a signature cannot be read as one.
        """
        found = [self._found(key) for key in self._blobs.keys(SIGNATURES)]
        return tuple(each for data in found for each in read_signatures(data, "a signature"))

    def add(self, signature: PlanSignature) -> None:
        """See `Plans.add`. A signer's newest takes the place of the one before, whoever hands another in beside it.

        Raises:
            NotFound: There is no plan with that SHA-256, which may mean that it was changed meanwhile.
            Denied: It was not made by a signer known here, in this role, over this plan.
        """
        admit(signature, self.text(), self.signers())
        document = {"signatures": [asdict(signature)]}
        data = json.dumps(document, indent=2, sort_keys=True).encode()
        self._blobs.put(f"{SIGNATURES}{signature.signer}.json", data)

    def _found(self, key: str) -> bytes | None:
        try:
            return self._blobs.get(key)
        except NotFound:
            return None
