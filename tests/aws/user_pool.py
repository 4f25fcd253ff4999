"""A user pool at an emulator with people in it, and identities that know it."""

import json
from datetime import timedelta
from typing import Any

from radloop.aws.audit import DynamoAudit
from radloop.aws.identities import CognitoIdentities, CognitoPeople
from radloop.aws.seals import Seals
from radloop.aws.tokens import CognitoTokens, fetched
from radloop.core.identity import Principal
from radloop.core.ports import Clock, Records
from radloop.security.identities import Identities
from radloop.security.sealing import Keyring
from tests.aws.emulators import client, unique
from tests.aws.substrate import Substrate
from tests.contracts.identities import ROLES, Someone

PASSWORD = "Correct-horse-1"


class House:
    """A pool with one client, and identities that know it; what is no person is in the records."""

    def __init__(self, address: str, records: Records, clock: Clock) -> None:
        self.address = address
        self.cognito = client(address, "cognito-idp")
        self.pool: str = self.cognito.create_user_pool(
            PoolName=unique("pool"),
            UsernameAttributes=["email"],
            Schema=[{"Name": "patient_scope", "AttributeDataType": "String", "Mutable": True}],
        )["UserPool"]["Id"]
        self.client_id: str = self.cognito.create_user_pool_client(
            UserPoolId=self.pool, ClientName="viewer", ExplicitAuthFlows=["ALLOW_ADMIN_USER_PASSWORD_AUTH"]
        )["UserPoolClient"]["ClientId"]
        for group in (*ROLES, "radiology"):
            self.cognito.create_group(UserPoolId=self.pool, GroupName=group)
        self._opened: list[Identities] = []
        self.identities = self.opened(records, clock)

    def opened(self, records: Records, clock: Clock) -> CognitoIdentities:
        """The people of this pool, as a process knows them that has just begun."""
        issuer = f"https://cognito-idp.eu-west-1.amazonaws.com/{self.pool}"
        keys = f"{self.address}/{self.pool}/.well-known/jwks.json"
        made = CognitoIdentities(
            records,
            Keyring(bytes(32)),
            clock,
            roles=ROLES,
            tokens=CognitoTokens(issuer, {self.client_id}, clock, fetch=lambda: fetched(keys)),
            people=CognitoPeople(self.cognito, self.pool, clock),
        )
        self._opened.append(made)
        return made

    def close(self) -> None:
        """Let go of what was opened."""
        for each in self._opened:
            each.close()

    def person(self, *groups: str, scope: str | None = None) -> tuple[str, str]:
        """Somebody new: user name and `sub`."""
        email = f"{unique('someone')}@example.org"
        attributes = [{"Name": "email", "Value": email}]
        if scope is not None:
            attributes.append({"Name": "custom:patient_scope", "Value": scope})
        made = self.cognito.admin_create_user(
            UserPoolId=self.pool, Username=email, UserAttributes=attributes, MessageAction="SUPPRESS"
        )["User"]
        self.cognito.admin_set_user_password(UserPoolId=self.pool, Username=email, Password=PASSWORD, Permanent=True)
        for group in groups:
            self.cognito.admin_add_user_to_group(UserPoolId=self.pool, Username=email, GroupName=group)
        return email, next(each["Value"] for each in made["Attributes"] if each["Name"] == "sub")

    def signed_in(self, email: str, which: str = "AccessToken") -> str:
        """A token of whoever has this user name."""
        answer = self.cognito.admin_initiate_auth(
            UserPoolId=self.pool,
            ClientId=self.client_id,
            AuthFlow="ADMIN_USER_PASSWORD_AUTH",
            AuthParameters={"USERNAME": email, "PASSWORD": PASSWORD},
        )
        found: str = answer["AuthenticationResult"][which]
        return found


class Home:
    """A house as the contract asks for it: people come in with an access token of the pool."""

    def __init__(self, house: House, substrate: Substrate) -> None:
        self.house = house
        self.substrate = substrate
        self.identities: Identities = house.identities
        self.records = substrate.records

    def another(self) -> Identities:
        return self.house.opened(self.substrate.other_records(), self.substrate.watch)

    def person(self, *roles: str, patients: list[str] | None = None) -> Someone:
        return self.house.person(*roles, scope=None if patients is None else json.dumps(patients))

    def bearer(self, someone: Someone) -> str:
        return self.house.signed_in(someone[0])

    def strangers_bearer(self) -> str:
        other = House(self.house.address, self.records, self.substrate.watch)
        email, sub = other.person("reader")
        made = other.signed_in(email)
        assert other.identities.of_token(made).id == sub
        other.close()
        return made

    def come_in(self, bearer: str, identities: Identities | None = None) -> Principal:
        return (identities or self.identities).of_token(bearer)

    def disable(self, someone: Someone, is_disabled: bool = True) -> None:
        cognito = self.house.cognito
        act: Any = cognito.admin_disable_user if is_disabled else cognito.admin_enable_user
        act(UserPoolId=self.house.pool, Username=someone[0])

    def give(self, someone: Someone, role: str) -> None:
        of_them = {"UserPoolId": self.house.pool, "Username": someone[0]}
        for group in self.house.cognito.admin_list_groups_for_user(**of_them)["Groups"]:
            self.house.cognito.admin_remove_user_from_group(**of_them, GroupName=group["GroupName"])
        self.house.cognito.admin_add_user_to_group(**of_them, GroupName=role)

    def wait(self, time: timedelta) -> None:
        self.substrate.watch.ahead += time

    def audited(self) -> list[tuple[str, str, str]]:
        seals = Seals(client(self.substrate.address, "s3"), "none-is-sealed", self.substrate.watch)
        entries = reversed(DynamoAudit(self.records, seals).entries())
        return [(each.principal, each.action, each.outcome) for each in entries]
