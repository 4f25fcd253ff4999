"""The same tiny datasets and folders that the tests of training have."""

from tests.training.conftest import channels, dataset, job_root, manifest

__all__ = ["channels", "dataset", "job_root", "manifest"]
