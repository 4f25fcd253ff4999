"""Which tests begin first: what takes longest and begins last leaves a processor with nothing to do at the end.

tests/test_groups.py sees that what is named here is there. Wrong seconds cost time and nothing else.
"""

from collections.abc import Mapping
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

SECONDS: Mapping[str, int] = {
    "tests/api/test_resumable_live.py": 45,
    "tests/aws/test_deletion.py": 80,
    "tests/aws/test_deletion.py::test_a_long_series_is_gone_at_once_and_nothing_of_it_is_left_after_its_job[1000]": 54,
    "tests/aws/test_learning.py": 35,
    "tests/aws/test_memory.py": 75,
    "tests/aws/test_package.py": 20,
    "tests/browser/test_accessibility.py": 125,
    "tests/browser/test_admin.py": 60,
    "tests/browser/test_idle.py": 60,
    "tests/browser/test_learning.py": 40,
    "tests/browser/test_packs_on_aws.py": 70,
    "tests/browser/test_pixel_truth.py": 125,
    "tests/browser/test_roles.py": 90,
    "tests/browser/test_signin.py": 50,
    "tests/browser/test_signin_redirect.py": 30,
    "tests/browser/test_stack.py": 105,
    "tests/browser/test_static_packs.py": 45,
    "tests/browser/test_stream_engine.py": 40,
    "tests/browser/test_upload.py": 50,
    "tests/browser/test_verify_offline.py": 60,
    "tests/browser/test_volume.py": 60,
    "tests/conform/test_faulty.py": 170,
    "tests/conform/test_orthanc.py": 42,
    "tests/dicom/test_phantom.py::test_whole_image_statistics_do_not_tell_the_label": 45,
    "tests/functions/test_storms.py": 45,
    "tests/fuzz/test_fuzz.py": 25,
    "tests/infra/test_deployment_page.py": 90,
    "tests/kill/test_ingest_kills.py": 30,
    "tests/kill/test_kill.py": 50,
    "tests/kill/test_kill.py::test_a_real_training_goes_on_from_its_checkpoints_until_it_is_done": 45,
    "tests/kill/test_kill.py::test_registration_happens_once_however_often_it_is_killed": 42,
    "tests/kill/test_kill.py::test_training_completes_once_however_often_it_is_killed": 44,
    "tests/kill/test_pipeline_kills.py": 30,
    "tests/local/test_mirror.py": 20,
    "tests/test_cli.py": 53,
    "tests/test_walk.py": 50,
    "tests/training/test_distributed.py": 80,
    "tests/training/test_distributed.py::test_two_processes_with_a_shard_list_each_learn_what_one_learns": 40,
    "tests/training/test_train.py": 60,
}
"""Of a file, or of a test that takes so long that it goes by itself and not with its file; on two quiet processors."""


class LongestFirst(LoadScopeScheduling):
    """Hands out files, and the tests of `SECONDS` by themselves, the longest first.

    A file stays together, because what its tests share would be made twice.
    """

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        config.option.loadscopereorder = False  # the order of `in_order`, not by the number of tests
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)


def unit_of(nodeid: str) -> str:
    """What a test is handed out with."""
    return nodeid if nodeid in SECONDS else nodeid.partition("::")[0]


def in_order(items: list[pytest.Item]) -> None:
    """Sort the tests by how long what they are handed out with takes; a unit stays together, and equals as they are."""
    items.sort(key=lambda item: -SECONDS.get(unit_of(item.nodeid), 0))
