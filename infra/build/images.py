"""Builds the container images and pushes them to the account's repositories, as a stack expects them.

    python infra/build/images.py radloop-dev 0.1.0

The first word is the name of the installation, whose repositories `NAME/pipeline`, `NAME/inference` and `NAME/lambda`
Terraform has made; the second is the tag, `image_tag` of the stack. A tag never moves: an image that is there already
is left as it is, so what was broken off can be run again, and another build is another tag.

Lambda and SageMaker run images on x86_64 here, and Lambda takes no index of several, which docker makes by itself.
docker or podman does the work, whichever is there; RADLOOP_ENGINE names another command (`podman --runtime runc`).
"""

import argparse
import base64
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ("pipeline", "inference", "lambda")
ONE_IMAGE = {"docker": ["--provenance=false"], "podman": ["--format", "docker"]}
_ABSENT = "ImageNotFoundException"


class Failed(Exception):
    """Something did not work; the message says what, and what to do."""


def engine() -> list[str]:
    """The words that the command of docker or podman begins with.

    Raises:
        Failed: Neither is there.
    """
    said = shlex.split(os.environ.get("RADLOOP_ENGINE", ""))
    found = said or [name for name in ONE_IMAGE if shutil.which(name)][:1]
    if not found:
        raise Failed("there is neither docker nor podman: install one, or name a command in RADLOOP_ENGINE")
    return found


def call(words: Sequence[str], *, data: str | None = None) -> None:
    """Run a command of the engine, its output before our eyes.

    Raises:
        Failed: It ended with another status than 0.
    """
    done = subprocess.run(words, cwd=ROOT, input=data, text=True, check=False)  # noqa: S603 — whoever runs this names it
    if done.returncode:
        raise Failed(f"{shlex.join(words[:3])} ended with {done.returncode}")


def push(name: str, tag: str, ecr: Any, run: Callable[..., None] = call) -> list[str]:
    """Build and push what is not there yet; returns the addresses of what was pushed.

    Raises:
        Failed: A repository is not there, or a command failed.
        botocore.exceptions.ClientError: ECR refuses.
    """
    missing = [which for which in IMAGES if not is_there(f"{name}/{which}", tag, ecr)]
    if not missing:
        return []
    words = engine()
    (given,) = ecr.get_authorization_token()["authorizationData"]
    registry = str(given["proxyEndpoint"]).partition("://")[2]
    user, _, password = base64.b64decode(given["authorizationToken"]).decode().partition(":")
    run([*words, "login", "--username", user, "--password-stdin", registry], data=password)
    pushed = []
    for which in missing:
        address = f"{registry}/{name}/{which}:{tag}"
        options = ["--platform", "linux/amd64", *ONE_IMAGE.get(Path(words[0]).name, [])]
        run([*words, "build", *options, "-f", f"infra/containers/{which}/Dockerfile", "-t", address, "."])
        run([*words, "push", address])
        pushed.append(address)
    return pushed


def is_there(repository: str, tag: str, ecr: Any) -> bool:
    """Whether a repository holds an image of this tag.

    Raises:
        Failed: There is no such repository.
    """
    try:
        found = ecr.describe_images(repositoryName=repository, imageIds=[{"imageTag": tag}])
    except ClientError as error:
        if error.response["Error"]["Code"] == _ABSENT:
            return False
        if error.response["Error"]["Code"] == "RepositoryNotFoundException":
            raise Failed(f"there is no repository {repository}: apply module.platform.module.images first") from None
        raise
    return bool(found["imageDetails"])


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="of the installation, such as radloop-dev")
    parser.add_argument("tag", help="`image_tag` of the stack, such as 0.1.0")
    given = parser.parse_args()
    try:
        pushed = push(given.name, given.tag, boto3.client("ecr"))
    except (Failed, BotoCoreError, ClientError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    told = [f"pushed {address}" for address in pushed] or [f"all of {given.name} {given.tag} is there already"]
    sys.stdout.write("\n".join(told) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
