"""The servers that the other tests of this folder lean on answer, and see each other's requests."""

from tests.aws.emulators import client, make_bucket, unique


def test_ministack_keeps_what_was_put(ministack: str) -> None:
    bucket = make_bucket(ministack, unique("bucket"))
    client(ministack, "s3").put_object(Bucket=bucket, Key="a/b", Body=b"abc")
    assert client(ministack, "s3").get_object(Bucket=bucket, Key="a/b")["Body"].read() == b"abc"


def test_moto_keeps_what_was_created(moto_server: str) -> None:
    group = unique("group")
    client(moto_server, "sagemaker").create_model_package_group(ModelPackageGroupName=group)
    found = client(moto_server, "sagemaker").describe_model_package_group(ModelPackageGroupName=group)
    assert found["ModelPackageGroupName"] == group
