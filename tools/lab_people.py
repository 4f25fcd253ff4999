# ruff: noqa: INP001 — part of programs that are run by themselves
"""A person of the user pool signs in as the viewer's sign-in page lets them: password by SRP, second factor by TOTP.

The password never goes over the wire (Secure Remote Password 6a, as Amazon Cognito asks for it: the 3072-bit group of
RFC 3526, generator 2, SHA-256), and the app client allows no other flow, so the lab must do what a browser does.
"""

import base64
import hashlib
import hmac
import secrets
import time
from datetime import UTC, datetime
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from lab_servers import LabFailed

from radloop.aws.clients import client

PASSWORD = "Correct-horse-battery-1"  # noqa: S105 — of a person whom the lab invents
_N = int(
    "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22514A08798E3404DDEF9519B3CD3A431B"
    "302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9A637ED6B0BFF5CB6F406B7EDEE386BFB5A899FA5AE9F24117C4B1FE6"
    "49286651ECE45B3DC2007CB8A163BF0598DA48361C55D39A69163FA8FD24CF5F83655D23DCA3AD961C62F356208552BB9ED529077096966D"
    "670C354E4ABC9804F1746C08CA18217C32905E462E36CE3BE39E772C180E86039B2783A2EC07A28FB5C55DF06F4C52C9DE2BCBF695581718"
    "3995497CEA956AE515D2261898FA051015728E5A8AAAC42DAD33170D04507A33A85521ABDF1CBA64ECFB850458DBEF0A8AEA71575D060C7D"
    "B3970F85A6E1E4C7ABF5AE8CDB0933D71E8C94E04A25619DCEE3D2261AD2EE6BF12FFA06D98A0864D87602733EC86A64521F2B18177B200C"
    "BBE117577A615D6C770988C0BAD946E208E24FA074E5AB3143DB5BFCE0FD108E4B82D120A93AD2CAFFFFFFFFFFFFFFFF",
    16,
)
_G = 2


class Person:
    """Somebody whom an administrator has added to the pool, with groups and a second factor."""

    def __init__(self, pool: str, app_client: str, name: str, groups: frozenset[str]) -> None:
        """Add them, as an administrator does, and have them set up their second factor.

        Raises:
            LabFailed: The pool answers otherwise than Cognito does.
        """
        self._pool, self._client, self._name, self._secret = pool, app_client, name, b""
        self._cognito = client("cognito-idp")
        self._cognito.admin_create_user(
            UserPoolId=pool, Username=name, MessageAction="SUPPRESS", TemporaryPassword=f"{PASSWORD}-at-first"
        )
        self._cognito.admin_set_user_password(UserPoolId=pool, Username=name, Password=PASSWORD, Permanent=True)
        for group in sorted(groups):
            self._cognito.admin_add_user_to_group(UserPoolId=pool, Username=name, GroupName=group)
        self._enrol()

    def token(self) -> str:
        """A new access token, by password and second factor.

        Raises:
            LabFailed: It was given without the second factor, or not at all.
        """
        told = self._by_password()
        if told.get("ChallengeName") != "SOFTWARE_TOKEN_MFA":
            raise LabFailed(f"the pool asks for no second factor but {sorted(told)}")
        answer = self._cognito.respond_to_auth_challenge(
            ClientId=self._client,
            ChallengeName="SOFTWARE_TOKEN_MFA",
            Session=told["Session"],
            ChallengeResponses={
                "USERNAME": told["ChallengeParameters"]["USER_ID_FOR_SRP"],
                "SOFTWARE_TOKEN_MFA_CODE": self._code(),
            },
        )
        return str(answer["AuthenticationResult"]["AccessToken"])

    def _enrol(self) -> None:
        """Set up the second factor. Cognito asks for it by MFA_SETUP; MiniStack lets people in once without."""
        told = self._by_password()
        held = {"Session": told["Session"]} if "Session" in told else {}
        held |= {"AccessToken": told["AuthenticationResult"]["AccessToken"]} if "AuthenticationResult" in told else {}
        given = self._cognito.associate_software_token(**held)
        self._secret = base64.b32decode(given["SecretCode"])
        verified = self._cognito.verify_software_token(**held, UserCode=self._code())
        if verified["Status"] != "SUCCESS":
            raise LabFailed(f"the second factor was not taken: {verified['Status']}")

    def _code(self) -> str:
        return TOTP(self._secret, 6, SHA1(), 30).generate(int(time.time())).decode()  # noqa: S303 — as RFC 6238 has it

    def _by_password(self) -> dict[str, Any]:
        """What comes of the password: tokens, or the next challenge."""
        a = secrets.randbelow(_N - 2) + 1
        big_a = pow(_G, a, _N)
        begun = self._cognito.initiate_auth(
            ClientId=self._client,
            AuthFlow="USER_SRP_AUTH",
            AuthParameters={"USERNAME": self._name, "SRP_A": f"{big_a:x}"},
        )
        if begun["ChallengeName"] != "PASSWORD_VERIFIER":
            raise LabFailed(f"the pool begins with {begun['ChallengeName']}")
        asked = begun["ChallengeParameters"]
        user, block = asked["USER_ID_FOR_SRP"], asked["SECRET_BLOCK"]
        key = self._key(a, big_a, int(asked["SRP_B"], 16), user, int(asked["SALT"], 16))
        now = datetime.now(UTC)
        moment = f"{now:%a %b} {now.day} {now:%H:%M:%S} UTC {now.year}"
        said = f"{self._pool_name}{user}".encode() + base64.b64decode(block) + moment.encode()
        answer = self._cognito.respond_to_auth_challenge(
            ClientId=self._client,
            ChallengeName="PASSWORD_VERIFIER",
            ChallengeResponses={
                "USERNAME": user,
                "TIMESTAMP": moment,
                "PASSWORD_CLAIM_SECRET_BLOCK": block,
                "PASSWORD_CLAIM_SIGNATURE": base64.b64encode(hmac.digest(key, said, "sha256")).decode(),
            },
        )
        return dict(answer)

    @property
    def _pool_name(self) -> str:
        return self._pool.partition("_")[2]

    def _key(self, a: int, big_a: int, big_b: int, user: str, salt: int) -> bytes:
        """What both sides know once the password was right, and nobody who listened."""
        inner = hashlib.sha256(f"{self._pool_name}{user}:{PASSWORD}".encode()).digest()
        x = _number(_padded(salt), inner)
        u = _number(_padded(big_a), _padded(big_b))
        k = _number(_padded(_N), _padded(_G))
        shared = pow(big_b - k * pow(_G, x, _N), a + u * x, _N)
        extracted = hmac.digest(_padded(u), _padded(shared), "sha256")
        return hmac.digest(extracted, b"Caldera Derived Key\x01", "sha256")[:16]


def _padded(number: int) -> bytes:
    """Big-endian, with a zero before a byte that would look like a sign."""
    return number.to_bytes(number.bit_length() // 8 + 1, "big")


def _number(*parts: bytes) -> int:
    return int.from_bytes(hashlib.sha256(b"".join(parts)).digest(), "big")
