"""docs/deployment-aws.md, walked from top to bottom on the lab's emulators: every command as it stands there.

What the emulators lack fails in the apply with the words that infra/lab.json names, and in no others.
"""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from radloop.aws import plans
from radloop.core.checklist import FAILED, OK
from tests.aws.emulators import ACCOUNT, CREDENTIALS, REGION, client, make_bucket, ministack, unique
from tests.docs.blocks import python_blocks, run_block
from tests.docs.test_docs import shell_lines
from tests.infra.test_lab import module
from tests.infra.test_terraform import reason_to_skip

__all__ = ["ministack"]

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/deployment-aws.md").read_text()
APPLY = "terraform apply radloop.tfplan"
STILL_OPEN = {"C12", "D4.2", "D4.4", "D8.1", "D9.1", "D9.2", "D9.4", "D9.5", "D9.6"}
"""Boxes that fail after the first apply: images, uploads, runs and models are to come; dev's lock can be undone."""


class Failed(Exception):
    """A command ended with another status than 0; what it printed, and what it said of itself."""

    def __init__(self, printed: str, said: str) -> None:
        super().__init__(f"{printed}{said}"[-3000:])
        self.printed = printed


def commands() -> list[str]:
    """Commands of the page in their order, without comments; those of the smoke test come last."""
    return [line.partition("  #")[0].strip() for line in shell_lines(PAGE)]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """What the page's commands read, with the values that a person fills in."""
    for name in ("infra", "contracts", "radloop"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns(".terraform*", "__pycache__"))
    shutil.copy(ROOT / "constraints.txt", tmp_path)
    stack = tmp_path / "infra/stacks/dev"
    for example in stack.glob("*.example"):
        text = example.read_text().replace("111122223333", ACCOUNT).replace("us-east-1", REGION)
        example.with_suffix("").write_text(text)
    with (stack / "backend.hcl").open("a") as backend:
        backend.write("use_path_style = true\n")  # the emulator has one name for all buckets
    return tmp_path


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The servers of `make lab`, and nothing applied to them."""
    reason = reason_to_skip()
    if reason is not None:
        pytest.skip(reason)
    servers = module("lab_servers")
    monkeypatch.setattr(servers, "_RUNNING", tmp_path / "lab.json")  # a lab that somebody has up stays as it is
    yield servers.up()
    servers.down()


@pytest.fixture
def environ(tree: Path, lab: Any) -> Mapping[str, str]:
    """Credentials and addresses of emulators in place of AWS, and providers from the mirror where there is one."""
    given = {**lab.environment(), "TF_VAR_emulated": "true"}
    given |= {"CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1", "TF_CLI_ARGS": "-no-color"}
    given |= {"PATH": f"{noting(tree)}:{Path(sys.executable).parent}:{os.environ['PATH']}"}
    mirror = os.environ.get("RADLOOP_TF_MIRROR")
    if mirror:
        settings = tree / "terraform.rc"
        settings.write_text(f'provider_installation {{\n  filesystem_mirror {{\n    path = "{mirror}"\n  }}\n}}\n')
        given |= {"TF_CLI_CONFIG_FILE": str(settings)}
        given |= {"TF_CLI_ARGS_providers_lock": f"-fs-mirror={mirrored(Path(mirror), tree / 'mirror')}"}
    return given


def noting(folder: Path) -> Path:
    """A folder with a docker that notes what it is asked, a line a call, and does nothing; whoever logs in is read."""
    (folder / "noting").mkdir()
    docker = folder / "noting/docker"
    docker.write_text(f'#!/bin/sh\n[ "$1" = login ] && read -r password\necho "$*" >> "{folder}/asked-of-docker"\n')
    docker.chmod(0o755)
    return docker.parent


def mirrored(mirror: Path, to: Path) -> Path:
    """A mirror with a provider for every system that the page locks, all of them this machine's."""
    for folder in mirror.glob("*/*/*/*"):
        there = to / folder.relative_to(mirror)
        there.mkdir(parents=True)
        (here,) = folder.iterdir()
        for system in ("linux_amd64", "linux_arm64", "darwin_arm64"):
            (there / system).symlink_to(here)
    return to


@pytest.fixture
def environ_of_python(ministack: str) -> Mapping[str, str]:
    return {**os.environ, **CREDENTIALS, "AWS_ENDPOINT_URL": ministack}


def run(line: str, at: Path, environ: Mapping[str, str]) -> str:
    """Run a command; a question of Terraform's is answered with yes. Returns what it printed.

    Raises:
        Failed: It ended with another status than 0.
    """
    program, *arguments = shlex.split(line)
    known = {"python": [sys.executable], "radloop": [sys.executable, "-m", "radloop.cli"]}
    done = subprocess.run(
        [*known.get(program, [program]), *arguments],
        cwd=at,
        env=dict(environ),
        input="yes\n",
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Failed(done.stdout, f"\n{line}: {done.stderr}")
    return done.stdout


def applied(line: str, at: Path, environ: Mapping[str, str]) -> str:
    """Apply everything; what fails is named in infra/lab.json, with the emulator's words."""
    told = {**environ, "TF_CLI_ARGS_apply": "-json -parallelism=40"}
    try:
        said = run(line, at, told)
    except Failed as failed:
        said = failed.printed
    terraform = module("lab_terraform")
    named = json.loads((ROOT / "infra/lab.json").read_text())["absent"]
    unneeded = "and nothing needs it"  # the lab has a site, the page's first apply has none
    assert [each for each in terraform.unnamed(terraform.errors_of(said), named) if unneeded not in each] == []
    return said


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.filterwarnings(
    "ignore:subprocess .* is still running:ResourceWarning"
)  # ended by their mark, not by handle
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_commands_lead_from_a_fresh_tree_to_a_stack_that_stands(
    tree: Path, environ: Mapping[str, str], lab: Any
) -> None:
    held = client(lab.ministack, "s3")
    make_bucket(lab.ministack, f"radloop-terraform-{ACCOUNT}")
    at, told = tree, {}
    for line in commands():
        if line.startswith("cd "):
            at = (at / line.removeprefix("cd ")).resolve()
        elif line == APPLY:
            told[line] = applied(line, at, environ)
        elif line.startswith(("python ", "terraform ")):
            told[line] = run(line.replace("111122223333", ACCOUNT), at, environ)
    assert {path.name for path in (tree / "build").iterdir()} > {"pipeline.json", "pipeline-spot.json", "drift.json"}
    assert "radloop/lambdas.py" in zipfile.ZipFile(tree / "build/lambda.zip").namelist()
    images = told["terraform apply -target=module.platform.module.images"]
    assert re.search(r"Apply complete! Resources: [1-9]", images)
    pushed = re.findall(r"^push [^/]+/radloop-dev/(\w+):0\.1\.0$", (tree / "asked-of-docker").read_text(), re.MULTILINE)
    assert pushed == ["pipeline", "inference", "lambda"]
    planned = re.search(r"Plan: (\d+) to add, .* 0 to destroy", told["terraform plan -out=radloop.tfplan"])
    assert planned is not None, told["terraform plan -out=radloop.tfplan"][-2000:]
    the_viewer_stands(held, f"radloop-web-dev-{ACCOUNT}")
    state = json.loads(held.get_object(Bucket=f"radloop-terraform-{ACCOUNT}", Key="radloop/dev.tfstate")["Body"].read())
    made = [each for each in state["resources"] if each["mode"] == "managed"]
    assert sum(len(each["instances"]) for each in made) > int(planned[1]) * 0.95 > 200
    assert set(systems(at / ".terraform.lock.hcl")) >= {"h1"}
    for line in [line for line in commands() if line.startswith("radloop doctor")]:
        looked(line, at, environ)


def the_viewer_stands(s3: Any, bucket: str) -> None:
    """The page is where CloudFront looks for it, and so is all that it names, each of its type."""
    page = s3.get_object(Bucket=bucket, Key="app/index.html")
    assert (page["ContentType"], page["CacheControl"]) == ("text/html; charset=utf-8", "no-cache")
    named = re.findall(r'(?:src|href)="(?:\./|/app/)?(assets/[^"]+)"', page["Body"].read().decode())
    assert len(named) > 1
    types = {".css": "text/css", ".js": "text/javascript", ".wasm": "application/wasm"}
    for name in named:
        one = s3.head_object(Bucket=bucket, Key=f"app/{name}")
        assert one["ContentType"].partition(";")[0] == types[Path(name).suffix]
        assert "immutable" in one["CacheControl"]
    assert {Path(name).suffix for name in named} == types.keys()
    keys = [item["Key"] for item in s3.list_objects_v2(Bucket=bucket)["Contents"]]
    assert not any(key.endswith(".gz") for key in keys)


def test_the_page_is_laid_down_and_a_tree_without_one_says_what_builds_it(
    tmp_path: Path, ministack: str, environ_of_python: Mapping[str, str]
) -> None:
    (line,) = [line for line in commands() if "viewer.py" in line]
    shown = "radloop-web-dev-111122223333"
    bucket = make_bucket(ministack, unique("web"))
    run(line.replace(shown, bucket), ROOT, environ_of_python)
    the_viewer_stands(client(ministack, "s3"), bucket)
    (tmp_path / "infra/build").mkdir(parents=True)
    shutil.copy(ROOT / "infra/build/viewer.py", tmp_path / "infra/build")
    with pytest.raises(Failed, match="`make setup` builds the viewer"):
        run(f"python infra/build/viewer.py {bucket}", tmp_path, environ_of_python)


def test_the_first_administrator_is_made_in_the_pool(
    tmp_path: Path, ministack: str, environ_of_python: Mapping[str, str]
) -> None:
    cognito = client(ministack, "cognito-idp")
    pool = cognito.create_user_pool(PoolName=unique("people"), UsernameAttributes=["email"])["UserPool"]["Id"]
    cognito.create_group(UserPoolId=pool, GroupName="admin")
    run_block(PAGE, "admin_create_user", tmp_path, environ_of_python, {"us-east-1_EXAMPLE": pool})
    (user,) = cognito.list_users_in_group(UserPoolId=pool, GroupName="admin")["Users"]
    assert {each["Name"]: each["Value"] for each in user["Attributes"]}["email"] == "ann@example.org"
    assert "admin" in json.loads((ROOT / "contracts/roles.json").read_text())["roles"]


def systems(lock: Path) -> list[str]:
    """The kinds of checksum that a lock file holds."""
    return re.findall(r'"(h1|zh):', lock.read_text())


def looked(line: str, at: Path, environ: Mapping[str, str]) -> None:
    """Look at the stack by the checklist; some of it fails, for nothing was uploaded, run or registered yet."""
    with pytest.raises(Failed) as failed:
        run(f"{line} --json", at, environ)
    boxes = {each["id"]: each for each in json.loads(failed.value.printed)["boxes"]}
    failing = {name: each["reason"] for name, each in boxes.items() if each["state"] == FAILED}
    assert failing.keys() == STILL_OPEN, failing
    assert sum(each["state"] == OK for each in boxes.values()) > len(boxes) / 2


def test_images_are_built_for_one_machine_and_pushed_once_under_a_tag(
    tmp_path: Path, ministack: str, environ_of_python: Mapping[str, str]
) -> None:
    name, ecr = unique("radloop"), client(ministack, "ecr")
    line = f"python infra/build/images.py {name} 0.1.0"
    environ = {**environ_of_python, "PATH": f"{noting(tmp_path)}:{os.environ['PATH']}"}
    with pytest.raises(Failed, match=f"there is no repository {name}/pipeline"):
        run(line, ROOT, environ)
    for which in ("pipeline", "inference", "lambda"):
        ecr.create_repository(repositoryName=f"{name}/{which}")
    manifest = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.v2+json"})
    ecr.put_image(repositoryName=f"{name}/inference", imageManifest=manifest, imageTag="0.1.0")
    pushed = run(line, ROOT, environ)
    asked = (tmp_path / "asked-of-docker").read_text().splitlines()
    assert [each.partition(" ")[0] for each in asked] == ["login", *["build", "push"] * 2]
    assert "--username AWS --password-stdin" in asked[0]
    for which, build, push in (("pipeline", *asked[1:3]), ("lambda", *asked[3:5])):
        assert build.startswith("build --platform linux/amd64 --provenance=false ")
        assert f"-f infra/containers/{which}/Dockerfile " in build
        assert push.removeprefix("push ") in pushed
        assert push.endswith(f"/{name}/{which}:0.1.0")


def test_a_key_pair_is_made_and_the_private_one_becomes_the_secret(
    tmp_path: Path, ministack: str, environ_of_python: Mapping[str, str]
) -> None:
    for line in commands():
        if line.startswith("openssl "):
            run(line, tmp_path, environ_of_python)
    secrets = client(ministack, "secretsmanager")
    secrets.create_secret(Name="radloop-dev/stream-signing", SecretString="-")
    run_block(PAGE, "put_secret_value", tmp_path, environ_of_python)
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
    run_block(PAGE, "upload_file", tmp_path, environ_of_python, {"111122223333": ACCOUNT})
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
    run_block(
        page, "radloop/pccp.yaml", tmp_path, environ_of_python, {"radloop-training-data-dev-111122223333": bucket}
    )
    held = client(ministack, "s3")
    for name, place in (("pccp.yaml", "pccp.yaml"), ("signers.json", "keys/signers.json")):
        there = held.get_object(Bucket=bucket, Key=f"radloop/{name}")["Body"].read()
        assert there == (tmp_path / "radloop-home" / place).read_bytes()
        assert f"training-data/radloop/{name}" in {plans.PLAN, plans.SIGNERS}


def test_every_command_of_the_page_is_run_here_or_named() -> None:
    for line in commands():
        assert line.startswith(("cd ", "python ", "terraform ", "openssl ", "radloop phantom ", "radloop doctor ")), (
            line
        )
    calls = ("upload_file", "put_secret_value", "admin_create_user")
    assert all(any(call in block for call in calls) for block in python_blocks(PAGE))
