"""The deployment checklist, answered for an AWS account; it only reads, and needs no more than a viewer's rights.

Names are those that the Terraform of this repository gives: `<project>-<environment>` before what a thing is.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from botocore.exceptions import BotoCoreError, ClientError

from radloop.aws.clients import client, code_of, translated
from radloop.aws.identities import roles_given
from radloop.aws.people import PEOPLE, drift, people_of
from radloop.core.checklist import Check, Found, either, failed, not_applicable, ok
from radloop.core.identity import Principal
from radloop.core.settings import Settings

_BUCKETS: Final = ("training-data", "preprocessed-data", "model-artifacts", "logs", "audit", "archive", "stream")
_KEYS: Final = ("training", "models", "logs", "tables", "imaging", "messages", "secrets", "audit")
_ENDPOINTS: Final = (
    "s3",
    "dynamodb",
    "medical-imaging",
    "runtime-medical-imaging",
    "events",
    "sqs",
    "kms",
    "sagemaker.api",
)
_OPERATOR = "the operator's own work: the state of Terraform lies where the operator keeps it"
_PAGES_AT_MOST: Final = 50
_DECIDE: Final = "model.decide"


def account_checks(name: str, contracts: Path) -> dict[str, Check]:
    """A check for every box, by its id.

    Args:
        name: `<project>-<environment>`, such as `radloop-dev`.
        contracts: The folder of the contracts, which say what must be there.
    """
    account = _Account(name, contracts)
    checks: dict[str, Check] = {
        "D1.1": account.network,
        "D1.2": account.keys,
        "D1.3": account.buckets,
        "D1.4": account.table,
        "D2.1": lambda: not_applicable(_OPERATOR),
        "D2.2": lambda: not_applicable(f"{_OPERATOR}; `terraform plan -detailed-exitcode` tells"),
        "D2.3": account.applied,
        "D2.4": account.outputs,
        "D3.1": account.datastore,
        "D3.2": account.inbox,
        "D3.3": lambda: not_applicable(
            "it would sign for a patient's images; the smoke test of the deployment guide does"
        ),
        "D3.4": lambda: not_applicable("a person with a phone; docs/deployment-aws.md says how"),
        "D4.1": account.pipeline,
        "D4.2": account.containers,
        "D4.3": account.roles,
        "D4.4": account.succeeded,
        "D5.1": account.functions,
        "D5.2": account.environments,
        "D5.3": account.roles,
        "D5.4": account.logs,
        "D6.1": account.bus,
        "D6.2": account.rules,
        "D6.3": account.delivered,
        "D7.1": account.dashboards,
        "D7.2": account.alarms,
        "D7.3": account.trail,
        "D7.4": account.retention,
        "D8.1": account.sealed,
        "D8.2": account.encryption,
        "D8.3": account.endpoints,
        "D8.4": account.reviewed,
        "D9.1": account.received,
        "D9.2": account.ingested,
        "D9.3": lambda: not_applicable("a person with a phone; docs/deployment-aws.md says how"),
        "D9.4": account.succeeded,
        "D9.5": account.succeeded,
        "D9.6": account.registered,
        **{f"D10.{box}": _documents for box in (1, 2, 3, 4)},
        "C8": account.noticing,
        "C12": account.told,
    }
    return {identity: _in_our_words(check) for identity, check in checks.items()}


def _documents() -> Found:
    return not_applicable("documents are in no account; `radloop doctor` without --aws looks for them")


def _in_our_words(check: Check) -> Check:
    def translating() -> Found:
        try:
            return check()
        except (BotoCoreError, ClientError) as error:
            raise translated(error, "AWS") from error

    return translating


@dataclass
class _Account:
    name: str
    contracts: Path

    @cached_property
    def number(self) -> str:
        return str(client("sts").get_caller_identity()["Account"])

    @property
    def project(self) -> str:
        return self.name.rpartition("-")[0]

    @property
    def stage(self) -> str:
        return self.name.rpartition("-")[2]

    def bucket(self, kind: str) -> str:
        return f"{self.project}-{kind}-{self.stage}-{self.number}"

    @cached_property
    def wanted(self) -> list[dict[str, Any]]:
        """The functions of the contract."""
        found: list[dict[str, Any]] = json.loads((self.contracts / "functions.json").read_bytes())["functions"]
        return found

    @cached_property
    def vpc(self) -> dict[str, Any] | None:
        tagged = [{"Name": "tag:Name", "Values": [self.name, f"{self.name}-vpc"]}]
        return next(iter(client("ec2").describe_vpcs(Filters=tagged)["Vpcs"]), None)

    @cached_property
    def configurations(self) -> dict[str, dict[str, Any]]:
        """Configuration of every function that is there, by its name in the contract."""
        there = _all("lambda", "list_functions", "Functions")
        return {
            one["FunctionName"].removeprefix(f"{self.name}-"): one
            for one in there
            if self._is_mine(one["FunctionName"])
        }

    @cached_property
    def groups(self) -> dict[str, dict[str, Any]]:
        found = _all("logs", "describe_log_groups", "logGroups")
        return {one["logGroupName"]: one for one in found if self.name in one["logGroupName"]}

    @cached_property
    def executions(self) -> list[dict[str, Any]]:
        listed = client("sagemaker").list_pipeline_executions(PipelineName=self.name, MaxResults=100)
        return list(listed["PipelineExecutionSummaries"])

    def _is_mine(self, name: str) -> bool:
        return name.startswith(f"{self.name}-")

    # Account

    def network(self) -> Found:
        if self.vpc is None:
            return failed(f"there is no VPC with the tag Name={self.name}")
        inside = [{"Name": "vpc-id", "Values": [self.vpc["VpcId"]]}]
        subnets = client("ec2").describe_subnets(Filters=inside)["Subnets"]
        private = [one for one in subnets if not one["MapPublicIpOnLaunch"]]
        zones = {one["AvailabilityZone"] for one in private}
        enough = len(zones) >= 2  # noqa: PLR2004 — availability zones
        return either(
            enough,
            f"{len(private)} private subnets in {len(zones)} zones",
            f"private subnets in {len(zones)} zones only",
        )

    def keys(self) -> Found:
        aliases = {one["AliasName"]: one.get("TargetKeyId") for one in _all("kms", "list_aliases", "Aliases")}
        mine = {domain: aliases.get(f"alias/{self.name}-{domain}") for domain in _KEYS}
        lacking = sorted(domain for domain, key in mine.items() if key is None)
        if lacking:
            return failed(f"no key for {', '.join(lacking)}")
        still = sorted(
            domain
            for domain, key in mine.items()
            if not client("kms").get_key_rotation_status(KeyId=key)["KeyRotationEnabled"]
        )
        return either(not still, f"{len(mine)} keys, one a domain, all rotating", f"not rotating: {', '.join(still)}")

    def buckets(self) -> Found:
        there = {one["Name"] for one in client("s3").list_buckets()["Buckets"]}
        lacking = [kind for kind in _BUCKETS if self.bucket(kind) not in there]
        if lacking:
            return failed(f"no bucket for {', '.join(lacking)}")
        plain = [kind for kind in _BUCKETS if _sealed_by(self.bucket(kind)) != "aws:kms"]
        return either(
            not plain, f"{len(_BUCKETS)} buckets, all sealed by KMS", f"not sealed by KMS: {', '.join(plain)}"
        )

    def table(self) -> Found:
        table = client("dynamodb").describe_table(TableName=self.name)["Table"]
        backed = client("dynamodb").describe_continuous_backups(TableName=self.name)["ContinuousBackupsDescription"]
        faults = []
        if table.get("SSEDescription", {}).get("SSEType") != "KMS":
            faults.append("not under a key of its own")
        if backed.get("PointInTimeRecoveryDescription", {}).get("PointInTimeRecoveryStatus") != "ENABLED":
            faults.append("no point-in-time recovery")
        return either(not faults, "the table is sealed and can be restored to any moment", "; ".join(faults))

    # Infrastructure

    def applied(self) -> Found:
        there = sum(1 for _ in self.configurations) + len(self.groups)
        return either(
            there, f"{there} functions and log groups of {self.name} are there", f"nothing of {self.name} is there"
        )

    def outputs(self) -> Found:
        found = [f"data store {one['datastoreId']}" for one in self._datastores()]
        return either(found, f"{', '.join(found)}; pipeline {self.name}", "there is no data store to name")

    # HealthImaging

    def _datastores(self) -> list[dict[str, Any]]:
        stores = _all("medical-imaging", "list_datastores", "datastoreSummaries")
        return [one for one in stores if one["datastoreName"].startswith(self.name)]

    def datastore(self) -> Found:
        active = [one for one in self._datastores() if one["datastoreStatus"] == "ACTIVE"]
        return either(active, f"the data store {self.name} is active", f"no data store {self.name} is active")

    def inbox(self) -> Found:
        told = client("s3").get_bucket_notification_configuration(Bucket=self.bucket("training-data"))
        return either(
            "EventBridgeConfiguration" in told,
            "what is put below upload/ is told to EventBridge",
            "the bucket training-data does not tell EventBridge of its objects",
        )

    # SageMaker

    def pipeline(self) -> Found:
        found = client("sagemaker").describe_pipeline(PipelineName=self.name)
        return either(found["PipelineStatus"] == "Active", "the pipeline is active", f"it is {found['PipelineStatus']}")

    def containers(self) -> Found:
        lacking = [
            kind
            for kind in ("pipeline", "inference", "lambda")
            if not client("ecr").list_images(repositoryName=f"{self.name}/{kind}", maxResults=1)["imageIds"]
        ]
        return either(not lacking, "all containers have been pushed", f"nothing pushed yet: {', '.join(lacking)}")

    def roles(self) -> Found:
        bad = []
        roles = {one["name"]: self.configurations.get(one["name"]) for one in self.wanted}
        if None in roles.values():
            return failed(
                f"functions that are not there: {', '.join(sorted(n for n, c in roles.items() if c is None))}"
            )
        for name, configuration in roles.items():
            role = str((configuration or {}).get("Role", "")).rpartition("/")[2]
            for policy in client("iam").list_role_policies(RoleName=role)["PolicyNames"]:
                document = client("iam").get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
                bad += [name] if _has_wildcard(document) else []
        return either(
            not bad,
            f"{len(roles)} functions, each with a role of its own and no wildcard action",
            f"wildcard actions: {', '.join(bad)}",
        )

    def succeeded(self) -> Found:
        done = [run for run in self.executions if run["PipelineExecutionStatus"] == "Succeeded"]
        return either(done, f"{len(done)} executions succeeded", "no execution has succeeded yet")

    # Functions

    def functions(self) -> Found:
        lacking = [one["name"] for one in self.wanted if one["name"] not in self.configurations]
        return either(not lacking, f"{len(self.wanted)} functions are deployed", f"not deployed: {', '.join(lacking)}")

    def environments(self) -> Found:
        contract = json.loads((self.contracts / "functions.json").read_bytes())
        lacking, done_without = [], set()
        for one in self.wanted:
            variables = self.configurations.get(one["name"], {}).get("Environment", {}).get("Variables", {})
            missing = {*contract["common"]["environment"], *one["environment"]} - {*variables}
            for what, names in contract["without"].items():
                wanted = {*names} & {*one["environment"]}
                if wanted and wanted <= missing:  # all of it or nothing
                    missing -= wanted
                    done_without.add(what)
            lacking += [f"{one['name']}: {name}" for name in sorted(missing)]
        told = f"; this installation has no {' and no '.join(sorted(done_without))}" if done_without else ""
        return either(
            not lacking, f"every function has the variables of its contract{told}", f"not set: {', '.join(lacking[:5])}"
        )

    def logs(self) -> Found:
        lacking = [one["name"] for one in self.wanted if f"/aws/lambda/{self.name}-{one['name']}" not in self.groups]
        return either(not lacking, "every function has its log group", f"without a log group: {', '.join(lacking)}")

    # Events

    def bus(self) -> Found:
        client("events").describe_event_bus(Name=self.name)
        return ok(f"the bus {self.name} is there")

    def rules(self) -> Found:
        lacking = []
        for file, bus in (("rules.json", self.name), ("aws-rules.json", "default")):
            told = json.loads((self.contracts / "events" / file).read_bytes())["rules"]
            there = {
                one["Name"]: one["State"]
                for one in client("events").list_rules(EventBusName=bus, NamePrefix=f"{self.name}-")["Rules"]
            }
            lacking += [one["name"] for one in told if there.get(f"{self.name}-{one['name']}") != "ENABLED"]
        return either(not lacking, "every rule of the contracts is on", f"not there or off: {', '.join(lacking)}")

    def delivered(self) -> Found:
        urls = [
            url
            for url in client("sqs").list_queues(QueueNamePrefix=f"{self.name}-").get("QueueUrls", [])
            if url.endswith("-dead")
        ]
        dead = {url.rpartition("/")[2]: count for url in urls if (count := _waiting(url))}
        if not urls:
            return failed("there are no dead letter queues")
        told = ", ".join(f"{count} in {name}" for name, count in dead.items())
        return either(not dead, f"{len(urls)} dead letter queues, all empty", told)

    # Monitoring

    def dashboards(self) -> Found:
        wanted = [one["id"] for one in json.loads((self.contracts / "dashboards.json").read_bytes())["dashboards"]]
        listed = client("cloudwatch").list_dashboards(DashboardNamePrefix=self.name)["DashboardEntries"]
        there = {one["DashboardName"] for one in listed}
        lacking = [name for name in wanted if f"{self.name}-{name}" not in there]
        return either(not lacking, f"{len(wanted)} dashboards", f"not there: {', '.join(lacking)}")

    def alarms(self) -> Found:
        wanted = [one["name"] for one in json.loads((self.contracts / "alarms.json").read_bytes())["alarms"]]
        found = client("cloudwatch").describe_alarms(AlarmNamePrefix=f"{self.name}-")["MetricAlarms"]
        telling = {one["AlarmName"] for one in found if one["AlarmActions"]}
        lacking = [name for name in wanted if not any(one.startswith(f"{self.name}-{name}") for one in telling)]
        return either(
            not lacking, f"{len(wanted)} alarms, all tell a topic", f"not there, or tell nobody: {', '.join(lacking)}"
        )

    def trail(self) -> Found:
        status = client("cloudtrail").get_trail_status(Name=self.name)
        return either(status["IsLogging"], "CloudTrail is logging", "the trail is switched off")

    def retention(self) -> Found:
        forever = sorted(name for name, group in self.groups.items() if "retentionInDays" not in group)
        if not self.groups:
            return failed(f"there are no log groups of {self.name}")
        return either(
            not forever, f"{len(self.groups)} log groups have a retention", f"kept for ever: {', '.join(forever[:5])}"
        )

    # Security

    def sealed(self) -> Found:
        lock = client("s3").get_object_lock_configuration(Bucket=self.bucket("audit"))["ObjectLockConfiguration"]
        rule = lock.get("Rule", {}).get("DefaultRetention", {})
        years = rule.get("Years", rule.get("Days", 0) / 365)
        return either(
            rule.get("Mode") == "COMPLIANCE" and years >= 6,  # noqa: PLR2004 — 45 CFR 164.316(b)
            f"audit segments cannot be deleted for {years:g} years",
            "the audit bucket does not lock its objects in compliance mode for at least 6 years",
        )

    def encryption(self) -> Found:
        resting = self.buckets()
        if resting.state == "failed":
            return resting
        loose = [kind for kind in _BUCKETS if not _demands_tls(self.bucket(kind))]
        return either(
            not loose, "sealed at rest, TLS demanded of everybody", f"without demanding TLS: {', '.join(loose)}"
        )

    def endpoints(self) -> Found:
        if self.vpc is None:
            return failed(f"there is no VPC with the tag Name={self.name}")
        inside = [{"Name": "vpc-id", "Values": [self.vpc["VpcId"]]}]
        there = [one["ServiceName"] for one in client("ec2").describe_vpc_endpoints(Filters=inside)["VpcEndpoints"]]
        lacking = [service for service in _ENDPOINTS if not any(name.endswith(f".{service}") for name in there)]
        gateways = client("ec2").describe_nat_gateways(Filter=inside)["NatGateways"]
        living = [one for one in gateways if one["State"] != "deleted"]
        if lacking:
            return failed(f"no endpoint for {', '.join(lacking)}")
        return either(
            not living, f"{len(there)} endpoints, no NAT gateway", f"{len(living)} NAT gateways lead to the internet"
        )

    def reviewed(self) -> Found:
        by_hand = "policies are a person's work; `make check-infra` lists every action of every role"
        told = self._people()
        if not told:
            return not_applicable(f"{by_hand}; people.json names nobody")
        pools = _all("cognito-idp", "list_user_pools", "UserPools", MaxResults=60)
        pool = next((one["Id"] for one in pools if one["Name"] == self.name), None)
        if pool is None:
            return failed(f"people.json names people, and there is no user pool {self.name}")
        deciding = [role for role, may in self.roles_told.items() if _DECIDE in may]
        found = drift(told.values(), roles_given(client("cognito-idp"), pool, self.roles_told), deciding)
        if found.too_much or found.too_little:
            return failed(
                f"of {found.people} people in people.json {found.too_much} have a role that the user pool does not give"
                f" them, {found.too_little} lack one to decide by that it gives; docs/aws.md says what to do"
            )
        return not_applicable(f"{by_hand}; people.json agrees with the user pool on {found.people} people")

    @cached_property
    def roles_told(self) -> dict[str, list[str]]:
        """What each role may do, as the contract says."""
        found: dict[str, list[str]] = json.loads((self.contracts / "roles.json").read_bytes())["roles"]
        return found

    def _people(self) -> Mapping[str, Principal]:
        bucket, _, key = PEOPLE.partition("/")
        try:
            body = client("s3").get_object(Bucket=self.bucket(bucket), Key=key)["Body"]
        except ClientError as error:
            if code_of(error) == "NoSuchKey":
                return {}
            raise
        return people_of(body.read(), self.roles_told)

    # Incidents

    def noticing(self) -> Found:
        told = self.configurations.get("outbox", {}).get("Environment", {}).get("Variables", {})
        if not told:
            return failed("the function outbox, which looks who reads of how many patients, is not there")
        rules = client("events").list_rules(NamePrefix=f"{self.name}-outbox-")["Rules"]
        if not any(one["State"] == "ENABLED" for one in rules):
            return failed("nothing wakes the function outbox, which looks who reads of how many patients")
        try:
            settings = {**asdict(Settings()), **json.loads(told.get("RADLOOP_SETTINGS") or "{}")}
        except (ValueError, TypeError):
            return failed("the settings of the function outbox cannot be read")
        noticed, kept_out = settings["incident_patients"], settings["isolate_patients"]
        if not (noticed and kept_out):
            return failed("incident_patients or isolate_patients is 0: it is not noticed, or nobody is kept out")
        guards = [
            client("guardduty").get_detector(DetectorId=one)
            for one in _all("guardduty", "list_detectors", "DetectorIds")
        ]
        return either(
            any(one["Status"] == "ENABLED" for one in guards),
            f"above {noticed} patients in five minutes an incident is opened, above {kept_out} the reader is kept out; "
            "GuardDuty is on",
            "GuardDuty is off in this region",
        )

    def told(self) -> Found:
        sealed = self.sealed()
        if sealed.state == "failed":
            return sealed
        topics = [one["TopicArn"] for one in _all("sns", "list_topics", "Topics")]
        mine = [one for one in topics if one.endswith(f":{self.name}-alerts")]
        listening = [
            one
            for topic in mine
            for one in _all("sns", "list_subscriptions_by_topic", "Subscriptions", TopicArn=topic)
            if one["SubscriptionArn"].startswith("arn:")
        ]
        return either(
            listening,
            f"{len(listening)} confirmed subscriptions of {self.name}-alerts are told; the audit is locked. "
            "Open incidents and their clocks: radloop incident list",
            f"nobody has confirmed a subscription of the topic {self.name}-alerts, so nobody would be told",
        )

    # What has been done

    def received(self) -> Found:
        counts = [_objects(self.bucket("training-data"), prefix) for prefix in ("upload/", "import/", "imported/")]
        return either(any(counts), "files have come in", "nothing has come into training-data yet")

    def ingested(self) -> Found:
        stores = self._datastores()
        found = stores and client("medical-imaging").search_image_sets(
            datastoreId=stores[0]["datastoreId"], maxResults=1
        )
        return either(
            found and found["imageSetsMetadataSummaries"], "there are image sets", "there is no image set yet"
        )

    def registered(self) -> Found:
        listed = client("sagemaker").list_model_packages(ModelPackageGroupName=self.name, MaxResults=100)
        count = len(listed["ModelPackageSummaryList"])
        return either(count, f"{count} model packages", "no model package is registered yet")


def _all(service: str, operation: str, field: str, **asked: Any) -> Iterable[dict[str, Any]]:
    """All items of a list, page by page; never more than a house's own account has."""
    most = {"MaxItems": 100 * _PAGES_AT_MOST}
    pages = client(service).get_paginator(operation).paginate(**asked, PaginationConfig=most)
    return [one for page in pages for one in page.get(field, [])]


def _sealed_by(bucket: str) -> str:
    rules = client("s3").get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    return str(rules[0]["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"]) if rules else ""


def _demands_tls(bucket: str) -> bool:
    try:
        policy = json.loads(client("s3").get_bucket_policy(Bucket=bucket)["Policy"])
    except ClientError as error:
        if code_of(error) == "NoSuchBucketPolicy":
            return False
        raise
    return any(
        one["Effect"] == "Deny"
        and one.get("Condition", {}).get("Bool", {}).get("aws:SecureTransport") in {"false", False}
        for one in policy["Statement"]
    )


def _has_wildcard(document: Any) -> bool:
    statements = document["Statement"]
    for one in statements if isinstance(statements, list) else [statements]:
        actions = one.get("Action", [])
        named = [actions] if isinstance(actions, str) else actions
        if one["Effect"] == "Allow" and any("*" in action for action in named):
            return True
    return False


def _waiting(url: str) -> int:
    told = client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["ApproximateNumberOfMessages"])
    return int(told["Attributes"]["ApproximateNumberOfMessages"])


def _objects(bucket: str, prefix: str) -> int:
    return int(client("s3").list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=1).get("KeyCount", 0))
