"""The report, the card and the checklists: whole, safe, and honest about what is open."""

import copy
import re
import shutil
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import imagecodecs
import pytest

from radloop.evaluation.card import card_of
from radloop.evaluation.checklists import CHECKLISTS, checklists_of
from radloop.evaluation.evaluate import main
from radloop.evaluation.report import report_of
from tests.evaluation.tested import evaluation_of, network, write_job, write_package, write_part

EVIL = '"><script>alert(1)</script>|`*_'


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("reported")
    write_job(root)
    write_part(root, "test", noise=220)
    write_part(root, "external", noise=60)
    (root / "processing" / "context" / "champion.json").write_text('{"version": 2}')
    write_package(root / "processing" / "context" / "champion.tar.gz", root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RADLOOP_ML_ROOT", str(root))
        assert main([]) == 0
    return root


@pytest.fixture
def evaluation(root: Path) -> dict[str, Any]:
    return evaluation_of(root)


class Tags(HTMLParser):
    """Every tag with its attributes, and whether all that was opened is closed in order."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.is_sound = True
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.is_sound = False


def page_of(root: Path) -> str:
    return (root / "processing" / "evaluation" / "report.html").read_text()


def test_the_page_is_sound_and_needs_neither_script_nor_network(root: Path) -> None:
    page = page_of(root)
    tags = Tags(page)
    assert tags.is_sound
    assert tags.open == []
    assert {"script", "link", "iframe", "object", "form", "base"}.isdisjoint(tag for tag, _ in tags.found)
    for tag, attributes in tags.found:
        assert "style" not in attributes, "a strict policy allows the one style sheet alone"
        assert not any(name.startswith("on") for name in attributes)
        assert "href" not in attributes
        if tag == "img":
            assert str(attributes["src"]).startswith("data:image/png;base64,")
            assert attributes["alt"]
    assert "http" not in re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", page)
    assert "url(" not in page


def test_every_rule_stands_in_the_page_with_its_sentence(root: Path, evaluation: dict[str, Any]) -> None:
    page = page_of(root)
    assert len(evaluation["gate"]["rules"]) == 18
    for rule in evaluation["gate"]["rules"]:
        assert escape(rule["sentence"]) in page
    assert "Refused" in page


def test_every_worst_case_is_shown_with_its_picture_and_wrong(root: Path, evaluation: dict[str, Any]) -> None:
    worst = evaluation["worst"]
    assert len(worst) == 6
    sureness = [abs(case["probability"] - case["label"]) for case in worst]
    assert sureness == sorted(sureness, reverse=True)
    for case in worst:
        assert case["called"] != case["label"]
        picture = root / "processing" / "evaluation" / case["picture"]
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert case["image_set"] in page_of(root)
    assert page_of(root).count("<img ") == 6


def test_without_the_right_to_see_images_the_page_has_none_and_says_so(evaluation: dict[str, Any]) -> None:
    page = report_of(evaluation, checklists_of(evaluation), None)
    assert "<img" not in page
    assert "Pictures are left out" in page
    assert Tags(page).is_sound


def test_a_picture_marks_what_spoke_for_the_finding(root: Path, evaluation: dict[str, Any]) -> None:
    for case in evaluation["worst"]:
        pixels = imagecodecs.png_decode((root / "processing/evaluation" / case["picture"]).read_bytes()).astype(int)
        assert pixels.shape == (224, 448, 3)
        assert (pixels[:, :224, 0] == pixels[:, :224, 2]).all(), "plain on the left"
        heat = pixels[:, 224:, 0] - pixels[:, 224:, 2]
        assert heat[:, :100].mean() > 10 * max(1, heat[:, 124:].mean()), "the network's evidence lies on the left half"


def test_a_network_without_saliency_shows_the_plain_tile(root: Path, job_root: Path) -> None:
    shutil.copytree(root / "processing", job_root / "processing")
    archive = job_root / "processing" / "model" / "model.tar.gz"
    write_package(archive, job_root, onnx_file=network(with_saliency=False))
    assert main([]) == 0
    found = evaluation_of(job_root)
    assert not any(case["has_saliency"] for case in found["worst"])
    assert (
        "Grad-CAM" not in (job_root / "processing" / "evaluation" / "report.html").read_text().partition("<h2>Data")[0]
    )


def poisoned(evaluation: dict[str, Any]) -> dict[str, Any]:
    """The evaluation with markup wherever a name may come from outside."""
    found = copy.deepcopy(evaluation)
    for group in found["subgroups"]:
        group["group"] = EVIL
    for part in found["parts"].values():
        for name in ("source", "scanner", "licence", "view"):
            part[name] = {EVIL: 3}
    for guard in found["guards"]:
        guard["sentence"] = guard["name"] = EVIL
    for rule in found["gate"]["rules"]:
        rule["sentence"] = EVIL
    for case in found["worst"]:
        case["image_set"] = EVIL
    found["operating_point"]["target"] = found["operating_point"]["chosen_on"] = EVIL
    found["champion"]["version"] = found["champion"]["how"] = EVIL
    found["lineage"]["code"] = {"radloop": EVIL, "sha256": EVIL}
    found["lineage"]["hyperparameters"] = {EVIL: EVIL}
    return found


def test_names_from_outside_are_no_markup(evaluation: dict[str, Any]) -> None:
    evil = poisoned(evaluation)
    page = report_of(evil, checklists_of(evil), None)
    assert Tags(page).is_sound
    assert "<script" not in page
    card = card_of(evil, checklists_of(evil))
    assert not re.search(r"(?<!\\)<", card), "no name opens a tag"


def test_the_card_tells_what_a_card_must(root: Path, evaluation: dict[str, Any]) -> None:
    card = (root / "processing" / "evaluation" / "model_card.md").read_text()
    for heading in ("What it is for", "Data", "Model", "Subgroups", "What this does not answer", "Where it comes from"):
        assert re.search(rf"^##+ {heading}$", card, flags=re.MULTILINE), heading
    assert evaluation["model_sha256"] in card
    assert "Not a medical device" in card
    assert "**The gate refused this model**" in card
    assert "- `accuracy`:" in card or "- `calibration`:" in card


def test_the_checklists_have_the_items_of_their_originals() -> None:
    assert [item.number for item in CHECKLISTS["CLAIM 2024"]] == [str(number) for number in range(1, 45)]
    tripod = [item.number for item in CHECKLISTS["TRIPOD+AI 2024"]]
    assert sorted({int(re.match(r"\d+", number)[0]) for number in tripod}) == list(range(1, 28))
    assert len(tripod) == len(set(tripod)) == 52
    assert [item.number for item in CHECKLISTS["GMLP 2021"]] == [str(number) for number in range(1, 11)]


def test_an_item_is_answered_from_data_or_says_what_a_person_must_add(evaluation: dict[str, Any]) -> None:
    found = checklists_of(evaluation)
    for name, checklist in found.items():
        for item in checklist["items"]:
            words = item["answer"] if item["status"] == "answered" else item["need"]
            assert words.strip(), f"{name} {item['number']}"
            assert ("answer" in item) != ("need" in item)
    claim = {item["number"]: item for item in found["CLAIM 2024"]["items"]}
    assert claim["44"]["status"] == "open", "who paid is nothing that data tell"
    assert claim["33"]["status"] == "answered"
    assert "ROC AUC" in claim["33"]["answer"]
    assert claim["18"]["status"] == "open", "every image set was read once"


def test_what_nobody_measured_is_open(evaluation: dict[str, Any]) -> None:
    poor = copy.deepcopy(evaluation)
    poor["external"], poor["champion"], poor["guards"], poor["lineage"] = None, None, [], {}
    for part in poor["parts"].values():
        for name in ("sex", "age_band", "source", "scanner"):
            part[name] = {"unknown": part["image_sets"]}
    found = {item["number"]: item["status"] for item in checklists_of(poor)["CLAIM 2024"]["items"]}
    assert {number for number in ("7", "20", "23", "25", "33", "36") if found[number] == "answered"} == set()
    assert checklists_of(poor)["CLAIM 2024"]["answered"] < checklists_of(evaluation)["CLAIM 2024"]["answered"]
    assert Tags(report_of(poor, checklists_of(poor), None)).is_sound
    assert "**none: open**" in card_of(poor, checklists_of(poor))
