"""docs/deployment-aws.md, walked from top to bottom on an emulator: every command as it stands there.

What cannot be walked here is said in `NOT_HERE`, with what runs it instead.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent

import pytest
from cryptography.hazmat.primitives import serialization

from radloop.aws import plans
from tests.aws.emulators import ACCOUNT, CREDENTIALS, REGION, client, make_bucket, ministack, moto_server, unique
from tests.docs.test_docs import shell_lines
from tests.infra.test_terraform import reason_to_skip

__all__ = ["ministack", "moto_server"]

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/deployment-aws.md").read_text()
NOT_HERE = {
    "python infra/build/lambda_zip.py": "tests/aws/test_package.py builds the very package",
    "terraform apply radloop.tfplan": "`make lab` applies the stack, and names what the emulators lack",
    "radloop doctor --aws --name radloop-dev": "tests/aws/test_checklist.py asks the emulators",
}


def commands() -> list[str]:
    """Commands of the page in their order, without comments; those of the smoke test come last."""
    return [line.partition("  #")[0].strip() for line in shell_lines(PAGE)]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """What Terraform reads, with the values that a person fills in, and a package in place of that of Lambda."""
    for name in ("infra", "contracts"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns(".terraform*", "__pycache__"))
    (tmp_path / "build").mkdir()
    with zipfile.ZipFile(tmp_path / "build/lambda.zip", "w") as package:
        package.writestr("radloop/lambdas.py", "")
    stack = tmp_path / "infra/stacks/dev"
    for example in stack.glob("*.example"):
        text = example.read_text().replace("111122223333", ACCOUNT).replace("us-east-1", REGION)
        example.with_suffix("").write_text(text)
    with (stack / "backend.hcl").open("a") as backend:
        backend.write("use_path_style = true\n")  # the emulator has one name for all buckets
    return tmp_path


@pytest.fixture
def environ(tree: Path, ministack: str, moto_server: str) -> Mapping[str, str]:
    """Credentials and addresses of emulators in place of AWS, and providers from the mirror where there is one."""
    given = {**os.environ, **CREDENTIALS, "AWS_ENDPOINT_URL": ministack, "TF_VAR_emulated": "true"}
    given |= {f"AWS_ENDPOINT_URL_{name}": moto_server for name in ("SAGEMAKER", "GUARDDUTY")}
    given |= {"CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1", "TF_CLI_ARGS": "-no-color"}
    mirror = os.environ.get("RADLOOP_TF_MIRROR")
    if mirror:
        settings = tree / "terraform.rc"
        settings.write_text(f'provider_installation {{\n  filesystem_mirror {{\n    path = "{mirror}"\n  }}\n}}\n')
        given["TF_CLI_CONFIG_FILE"] = str(settings)
    return given


@pytest.fixture
def environ_of_python(ministack: str) -> Mapping[str, str]:
    return {**os.environ, **CREDENTIALS, "AWS_ENDPOINT_URL": ministack}


def run(line: str, at: Path, environ: Mapping[str, str]) -> str:
    """Run a command; a question of Terraform's is answered with yes. Returns what it printed."""
    program, *arguments = shlex.split(line)
    known = {"python": [sys.executable], "radloop": [sys.executable, "-m", "radloop.cli"]}
    if line.startswith("terraform providers lock") and "TF_CLI_CONFIG_FILE" in environ:  # it would ask the registry
        arguments = ["providers", "lock", f"-fs-mirror={os.environ['RADLOOP_TF_MIRROR']}", "-platform=linux_amd64"]
    done = subprocess.run(
        [*known.get(program, [program]), *arguments],
        cwd=at,
        env=dict(environ),
        input="yes\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{line}: {(done.stdout + done.stderr)[-3000:]}"
    return done.stdout


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_commands_lead_from_a_fresh_tree_to_a_plan_of_everything(
    tree: Path, environ: Mapping[str, str], ministack: str
) -> None:
    reason = reason_to_skip()
    if reason is not None:
        pytest.skip(reason)
    make_bucket(ministack, f"radloop-terraform-{ACCOUNT}")
    at, told = tree, {}
    for line in commands():
        if line.startswith("cd "):
            at = tree / line.removeprefix("cd ")
        elif line not in NOT_HERE and line.startswith(("python ", "terraform ")):
            told[line] = run(line, at, environ)
    assert {path.name for path in (tree / "build").iterdir()} > {"pipeline.json", "pipeline-spot.json", "drift.json"}
    images = told["terraform apply -target=module.platform.module.images"]
    assert re.search(r"Apply complete! Resources: [1-9]", images)
    planned = re.search(r"Plan: (\d+) to add, .* 0 to destroy", told["terraform plan -out=radloop.tfplan"])
    assert planned is not None, told["terraform plan -out=radloop.tfplan"][-2000:]
    assert int(planned[1]) > 200
    assert (at / "radloop.tfplan").exists()
    assert (at / ".terraform.lock.hcl").exists()
    held = (
        client(ministack, "s3")
        .get_object(Bucket=f"radloop-terraform-{ACCOUNT}", Key="radloop/dev.tfstate")["Body"]
        .read()
    )
    assert b"aws_ecr_repository" in held


def test_a_key_pair_is_made_and_the_private_one_becomes_the_secret(
    tmp_path: Path, ministack: str, environ_of_python: Mapping[str, str]
) -> None:
    for line in commands():
        if line.startswith("openssl "):
            run(line, tmp_path, environ_of_python)
    secrets = client(ministack, "secretsmanager")
    secrets.create_secret(Name="radloop-dev/stream-signing", SecretString="-")
    run_block("put_secret_value", tmp_path, environ_of_python)
    held = secrets.get_secret_value(SecretId="radloop-dev/stream-signing")["SecretString"]
    private = serialization.load_pem_private_key(held.encode(), password=None)
    public = serialization.load_pem_public_key((tmp_path / "stream.pub.pem").read_bytes())
    assert private.public_key() == public
    assert any('"${var.name}/stream-signing"' in path.read_text() for path in (ROOT / "infra").rglob("*.tf"))


def test_the_smoke_test_puts_a_phantom_below_upload(
    tmp_path: Path, ministack: str, environ_of_python: Mapping[str, str]
) -> None:
    (phantom,) = [line for line in commands() if line.startswith("radloop phantom")]
    run(phantom, tmp_path, environ_of_python)
    bucket = make_bucket(ministack, f"radloop-training-data-dev-{ACCOUNT}")
    run_block("upload_file", tmp_path, environ_of_python)
    keys = [item["Key"] for item in client(ministack, "s3").list_objects_v2(Bucket=bucket)["Contents"]]
    assert len(keys) == len(list((tmp_path / "phantoms").rglob("*.dcm"))) == 16
    assert all(key.startswith("upload/smoke/") for key in keys)


def test_a_plan_made_in_a_home_is_put_where_the_api_reads_it(
    tmp_path: Path, ministack: str, environ_of_python: Mapping[str, str]
) -> None:
    page = (ROOT / "docs/aws.md").read_text()
    for line in shell_lines(page):
        if line.startswith("radloop pccp "):
            run(line, tmp_path, {**environ_of_python, "RADLOOP_HOME": ""})
    bucket = make_bucket(ministack, unique("plan"))
    run_block("radloop/pccp.yaml", tmp_path, environ_of_python, page=page, bucket=bucket)
    held = client(ministack, "s3")
    for name, place in (("pccp.yaml", "pccp.yaml"), ("signers.json", "keys/signers.json")):
        there = held.get_object(Bucket=bucket, Key=f"radloop/{name}")["Body"].read()
        assert there == (tmp_path / "radloop-home" / place).read_bytes()
        assert f"training-data/radloop/{name}" in {plans.PLAN, plans.SIGNERS}


def run_block(call: str, at: Path, environ: Mapping[str, str], *, page: str = PAGE, bucket: str = "") -> None:
    """Run the one Python block of a page that makes this call, against a bucket of another name where one is given."""
    blocks = re.findall(r"^ *```python\n(.*?)^ *```", page, flags=re.MULTILINE | re.DOTALL)
    (block,) = [block for block in blocks if call in block]
    script = dedent(block).replace("111122223333", ACCOUNT)
    if bucket:
        script = script.replace(f"radloop-training-data-dev-{ACCOUNT}", bucket)
    subprocess.run([sys.executable, "-c", script], cwd=at, env=dict(environ), check=True)


def test_every_command_of_the_page_is_run_here_or_named() -> None:
    for line in commands():
        assert line in NOT_HERE or line.startswith(("cd ", "python ", "terraform ", "openssl ", "radloop phantom ")), (
            line
        )
    blocks = re.findall(r"^ *```python\n(.*?)^ *```", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert all("upload_file" in block or "put_secret_value" in block for block in blocks)


def test_what_is_not_walked_here_still_stands_on_the_page() -> None:
    assert NOT_HERE.keys() <= set(commands())
