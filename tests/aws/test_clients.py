"""Clients find AWS as its own tools do, and what goes wrong is told in our words."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError, ParamValidationError

from radloop.aws import clients
from radloop.aws.blobs import S3Blobs
from radloop.aws.clients import client, code_of, made, status_of, translated
from radloop.core.errors import Denied, InvalidInput, NotFound, RadloopError, Unavailable


def test_a_process_has_one_client_a_service_however_many_ask_at_once() -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(client, ["s3", "kms", "sqs", "dynamodb"] * 4))
    assert client("s3") is client("s3")
    assert client("s3") is not client("kms")
    assert made("s3") is not client("s3")


def test_the_environment_says_where_aws_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert client("sqs").meta.endpoint_url == "https://sqs.eu-west-1.amazonaws.com"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER", "http://127.0.0.1:5000")
    clients.session.cache_clear()
    clients.client.cache_clear()
    assert client("sqs").meta.endpoint_url == "http://127.0.0.1:4566"
    assert client("sagemaker").meta.endpoint_url == "http://127.0.0.1:5000"
    assert made("s3", "http://127.0.0.1:9").meta.endpoint_url == "http://127.0.0.1:9"


def test_names_are_put_before_the_address_unless_the_environment_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert client("medical-imaging").meta.config.inject_host_prefix
    monkeypatch.setenv("AWS_DISABLE_HOST_PREFIX_INJECTION", "true")
    clients.session.cache_clear()
    clients.client.cache_clear()
    assert not client("medical-imaging").meta.config.inject_host_prefix


def answered(code: str, status: int) -> ClientError:
    answer = {"Error": {"Code": code, "Message": "DOE^JOHN"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "PutItem")


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (answered("AccessDeniedException", 400), Denied),
        (answered("SignatureDoesNotMatch", 403), Denied),
        (answered("ResourceNotFoundException", 400), NotFound),
        (answered("NoSuchBucket", 404), NotFound),
        (answered("ValidationException", 400), InvalidInput),
        (answered("ThrottlingException", 400), Unavailable),
        (answered("SlowDown", 503), Unavailable),
        (answered("InternalServerError", 500), Unavailable),
        (NoCredentialsError(), Denied),
        (ParamValidationError(report="DOE^JOHN"), InvalidInput),
        (EndpointConnectionError(endpoint_url="http://DOE^JOHN"), Unavailable),
    ],
    ids=str,
)
def test_what_aws_answers_is_told_without_what_was_sent(error: Any, kind: type[RadloopError]) -> None:
    ours = translated(error, "dynamodb")
    assert type(ours) is kind
    assert "dynamodb" in str(ours)
    assert "DOE" not in str(ours)


def test_an_answer_without_a_code_is_unavailable() -> None:
    bare = ClientError({}, "PutItem")
    assert (code_of(bare), status_of(bare)) == ("unknown", 0)
    assert isinstance(translated(bare, "s3"), Unavailable)


def test_a_configuration_that_cannot_be_used_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    clients.session.cache_clear()
    with pytest.raises(Unavailable, match="NoRegion"):
        made("dynamodb")
    with pytest.raises(InvalidInput, match="address"):
        made("s3", "nowhere")


def test_at_aws_itself_the_bucket_stands_in_the_name_of_the_host() -> None:
    blobs = S3Blobs(boto3.client("s3"), {"training-data": "scans"}, {"training-data": "arn:aws:kms:eu-west-1:1:key/k"})
    config: Any = blobs._store("training-data").config
    assert config["virtual_hosted_style_request"] in {True, "true"}
    assert config["region"] == "eu-west-1"
    assert config["sse_kms_key_id"] == "arn:aws:kms:eu-west-1:1:key/k"
    assert "endpoint" not in config


def test_buckets_alone_load_no_more_than_the_sdk() -> None:
    code = "import sys, radloop.aws.buckets; sys.exit(bool({'obstore', 'joserfc'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
