"""The evaluation report as one HTML file: no script, nothing from the network, for a phone, a desk, the dark, paper.

All that is not ours by construction is escaped. Pictures are handed in, so that the same page can be made without
them for those who may read about models and not see images.
"""

import base64
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any, Final

from radloop.evaluation.charts import calibration_chart, pr_chart, roc_chart, track
from radloop.evaluation.words import NAMES, NOTICE, counted, figure, interval_of, listed

_CARDS: Final = ("roc_auc", "accuracy", "recall", "specificity")
_CLASSES: Final = ("absent", "present")

STYLE: Final = """
:root { color-scheme: light dark; --paper: #fff; --card: #f5f7fa; --ink: #17202b; --soft: #55606e; --edge: #d9dfe7;
  --line: #1f6feb; --fill: #1f6feb26; --good: #116b35; --good-back: #dff5e6; --bad: #a8201a; --bad-back: #fde5e3;
  --warn: #7a5200; --warn-back: #fff1d0 }
@media (prefers-color-scheme: dark) { :root { --paper: #10151c; --card: #19212b; --ink: #e8edf3; --soft: #a3afbd;
  --edge: #2e3947; --line: #6cb0ff; --fill: #6cb0ff2e; --good: #7ee2a0; --good-back: #12351f; --bad: #ff9d94;
  --bad-back: #461a17; --warn: #ffd37a; --warn-back: #3d2f0c } }
* { box-sizing: border-box }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif }
main { max-width: 1080px; margin: 0 auto; padding: 20px 16px 64px }
h1 { font-size: 1.5rem; line-height: 1.2; margin: 0 0 12px; text-wrap: balance }
h2 { font-size: 1.15rem; margin: 40px 0 12px; padding-top: 12px; border-top: 1px solid var(--edge) }
h3 { font-size: 1rem; margin: 20px 0 8px }
p { margin: 0 0 12px; max-width: 72ch }
code { font: 0.85em ui-monospace, monospace; overflow-wrap: anywhere }
.soft, figcaption, .notice { color: var(--soft); font-size: 0.9rem }
.verdict { padding: 16px; border-radius: 12px; margin: 0 0 16px }
.verdict strong { font-size: 1.15rem; display: block }
.verdict ul { margin: 8px 0 0; padding-left: 20px }
.passed { background: var(--good-back); color: var(--good) }
.refused { background: var(--bad-back); color: var(--bad) }
.warned { background: var(--warn-back); color: var(--warn) }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px }
.card { background: var(--card); border-radius: 12px; padding: 12px 14px }
.card b { display: block; font-size: 1.7rem; line-height: 1.2; font-variant-numeric: tabular-nums }
.card small { color: var(--soft); font-variant-numeric: tabular-nums }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(270px, 1fr)); gap: 20px }
figure { margin: 0; break-inside: avoid }
figcaption b { color: var(--ink) }
.chart { width: 100%; height: auto; display: block }
.chart text { fill: var(--soft); font: 11px system-ui, sans-serif }
.chart .axis { font-size: 12px }
.grid { stroke: var(--edge); stroke-width: 1 }
.chance { fill: none; stroke: var(--soft); stroke-width: 1; stroke-dasharray: 4 4 }
.curve { fill: none; stroke: var(--line); stroke-width: 2.5; stroke-linejoin: round }
.area { fill: var(--fill) }
.point { fill: var(--paper); stroke: var(--line); stroke-width: 2.5 }
.track { width: 100%; height: 20px; display: block }
.track line, .track rect { vector-effect: non-scaling-stroke }
.rail { stroke: var(--edge); stroke-width: 1 }
.reach { fill: var(--line); opacity: 0.4 }
.value { stroke: var(--line); stroke-width: 3 }
.whole { stroke: var(--soft); stroke-width: 1 }
.limit { stroke: var(--bad); stroke-width: 1.5; stroke-dasharray: 3 3 }
.rows { list-style: none; margin: 0; padding: 0 }
.rows li { padding: 10px 0; border-bottom: 1px solid var(--edge); break-inside: avoid }
.rule { display: grid; grid-template-columns: 6.2rem 1fr; gap: 2px 12px; align-items: start }
.rule .name { font-weight: 600 }
.rule .name .soft { font-weight: 400 }
.rule p { grid-column: 2; margin: 0; color: var(--soft) }
.tag { font-size: 0.8rem; font-weight: 600; padding: 2px 8px; border-radius: 999px; justify-self: start;
  white-space: nowrap }
.forest li { display: grid; grid-template-columns: 1fr; gap: 2px 16px; align-items: center }
.forest .numbers { font-variant-numeric: tabular-nums; color: var(--soft); font-size: 0.9rem }
.scale { display: flex; justify-content: space-between; color: var(--soft); font-size: 0.8rem }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { text-align: left; padding: 6px 10px 6px 0; border-bottom: 1px solid var(--edge); vertical-align: top }
th { color: var(--soft); font-weight: 600; font-size: 0.85rem }
.number { text-align: right }
.scroll { overflow-x: auto }
.matrix { max-width: 430px }
caption { text-align: left }
.rows + p, .rows + .rows, .charts + p { margin-top: 16px }
.forest li:last-child { border: 0 }
.matrix td b { font-size: 1.3rem }
.cases { display: grid; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); gap: 16px }
.cases img { width: 100%; height: auto; display: block; border-radius: 8px; background: #000 }
details { border-bottom: 1px solid var(--edge); padding: 8px 0 }
summary { cursor: pointer; font-weight: 600; padding: 8px 0 }
dl { display: grid; grid-template-columns: minmax(0, 1fr); gap: 2px 16px; margin: 0 }
dt { font-weight: 600 } dd { margin: 0 0 8px }
@media (min-width: 720px) { .two { columns: 2; column-gap: 32px } .two .rule { grid-template-columns: 4.6rem 1fr }
  .forest li { grid-template-columns: 13rem 1fr 13rem }
  dl { grid-template-columns: 12rem 1fr }
  .forest .scale { grid-column: 2 } }
@media print { body { font-size: 11px } main { max-width: none; padding: 0 } h2 { break-after: avoid }
  * { print-color-adjust: exact } .charts { grid-template-columns: repeat(3, 1fr) } }
""".strip()


def report_of(
    evaluation: Mapping[str, Any], checklists: Mapping[str, Any], pictures: Mapping[str, bytes] | None
) -> str:
    """The page.

    Args:
        evaluation: As in `evaluation.json`, with its gate.
        checklists: From `checklists_of`.
        pictures: PNG files of the worst cases by name; None for who may not see images, which the page then says.
    """
    body = "".join(
        part
        for section in (
            _head(evaluation),
            _cards(evaluation),
            _gate(evaluation),
            _curves(evaluation),
            _all_figures(evaluation),
            _comparisons(evaluation),
            _subgroups(evaluation),
            _guards(evaluation),
            _cases(evaluation, pictures),
            _data(evaluation),
            _unanswered(evaluation, checklists),
            _origin(evaluation),
        )
        for part in section
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Evaluation of model {escape(str(evaluation['model_sha256'])[:12])}</title>"
        f"<style>{STYLE}</style></head><body><main>{body}</main></body></html>\n"
    )


def _head(evaluation: Mapping[str, Any]) -> Iterator[str]:
    gate, test = evaluation["gate"], evaluation["test"]
    refused = [rule for rule in gate["rules"] if not rule["passed"]]
    yield '<p class="soft">radloop evaluation report</p>'
    if refused:
        yield f"<h1>Refused: {len(refused)} of {len(gate['rules'])} rules are not met</h1>"
        told = "".join(f"<li>{escape(rule['sentence'])}</li>" for rule in refused)
        yield f'<div class="verdict refused"><strong>This model may not be registered.</strong><ul>{told}</ul></div>'
    else:
        yield f"<h1>Passed: all {len(gate['rules'])} rules are met</h1>"
        yield '<div class="verdict passed"><strong>This model may be registered.</strong> A person decides on its use.'
        yield "</div>"
    yield (
        f"<p>Tested on {counted(test['image_sets'], 'image set')} of {counted(test['patients'], 'patient')} whom it "
        f"never saw; {test['positives']} have the finding. Intervals are 95 %, over patients.</p>"
        f'<p class="notice">{NOTICE}</p>'
    )


def _cards(evaluation: Mapping[str, Any]) -> Iterator[str]:
    yield '<div class="cards">'
    for name in _CARDS:
        one = evaluation["metrics"][name]
        bounds = f"{figure(one['ci_low'])} to {figure(one['ci_high'])}"
        yield (
            f'<div class="card"><small>{NAMES[name]}</small><b>{figure(one["value"])}</b>'
            f"{track(one, (0.0, 1.0), label=f'{NAMES[name]} {interval_of(one)}')}<small>{bounds}</small></div>"
        )
    yield "</div>"


def _gate(evaluation: Mapping[str, Any]) -> Iterator[str]:
    gate = evaluation["gate"]
    yield "<h2>The gate</h2><p>Every rule of the policy, those that refuse first.</p>"
    for passed, columns in ((False, ""), (True, " two")):
        rules = [rule for rule in gate["rules"] if bool(rule["passed"]) is passed]
        if rules:
            yield f'<ul class="rows{columns}">{"".join(map(_rule, rules))}</ul>'
    if gate.get("off"):
        yield f'<p class="notice">Switched off by the policy: {escape(", ".join(gate["off"]))}.</p>'


def _rule(rule: Mapping[str, Any]) -> str:
    kind, word = ("passed", "✓ met") if rule["passed"] else ("refused", "✗ not met")
    value = "unknown" if rule["value"] is None else f"{rule['value']:.4g}"
    return (
        f'<li class="rule"><span class="tag {kind}">{word}</span><span class="name">{_word(rule["name"])} '
        f'<span class="soft">{value}, limit {rule["limit"]:.4g}</span></span><p>{escape(rule["sentence"])}</p></li>'
    )


def _curves(evaluation: Mapping[str, Any]) -> Iterator[str]:
    metrics, operating = evaluation["metrics"], evaluation["operating_point"]
    prevalence = evaluation["test"]["positives"] / evaluation["test"]["image_sets"]
    area, precision, error = (interval_of(metrics[name]) for name in ("roc_auc", "pr_auc", "ece"))
    yield "<h2>Curves</h2>"
    yield '<div class="charts">'
    yield _figure(
        roc_chart(evaluation["roc_curve"], evaluation["confusion_matrix"], area),
        "ROC",
        f"area {area}. The ring is the operating point.",
    )
    yield _figure(
        pr_chart(evaluation["pr_curve"], prevalence, precision),
        "Precision and recall",
        f"average precision {precision}. Dashed: the prevalence, {prevalence:.3f}.",
    )
    yield _figure(
        calibration_chart(evaluation["calibration"], error),
        "Calibration",
        f"error {error}. Bins of equal mass; on the diagonal the probability is true.",
    )
    yield "</div>"
    target = f" for {escape(str(operating['target']))}" if operating.get("target") else ""
    yield (
        f"<p>Present is called from a probability of <b>{operating['threshold']:.4f}</b> on, chosen on "
        f"{escape(str(operating['chosen_on']))}{target} and never tuned on these patients. Temperature of the "
        f"calibration: {operating['temperature']:.4f}.</p>"
    )
    yield _matrix(evaluation["confusion_matrix"])


def _figure(chart: str, name: str, words: str) -> str:
    return f"<figure>{chart}<figcaption><b>{name}</b>: {words}</figcaption></figure>"


def _matrix(counts: Mapping[str, int]) -> str:
    return (
        '<table class="matrix"><caption class="soft">What was called what</caption>'
        '<tr><td></td><th scope="col">called present</th><th scope="col">called absent</th></tr>'
        f'<tr><th scope="row">is present</th><td><b>{counts["tp"]}</b></td><td><b>{counts["fn"]}</b> missed</td></tr>'
        f'<tr><th scope="row">is absent</th><td><b>{counts["fp"]}</b> false alarms</td><td><b>{counts["tn"]}</b></td>'
        "</tr></table>"
    )


def _all_figures(evaluation: Mapping[str, Any]) -> Iterator[str]:
    yield "<h2>All figures</h2>"
    yield from _forest((NAMES[name], evaluation["metrics"][name], ()) for name in NAMES)


def _forest(
    rows: Iterable[tuple[str, Mapping[str, Any], tuple[tuple[float, str], ...]]], span: tuple[float, float] = (0.0, 1.0)
) -> Iterator[str]:
    """Rows of a name, a track and the figures, with a scale below."""
    yield '<ul class="rows forest">'
    for name, one, marks in rows:
        label = f"{name} {interval_of(one)}"
        yield (
            f"<li><span>{escape(name)}</span>{track(one, span, marks, label)}"
            f'<span class="numbers">{interval_of(one)}</span></li>'
        )
    ends = "".join(f"<span>{span[0] + (span[1] - span[0]) * part / 4:.2f}</span>" for part in range(5))
    yield f'<li aria-hidden="true"><span class="scale">{ends}</span></li></ul>'


def _comparisons(evaluation: Mapping[str, Any]) -> Iterator[str]:
    baseline, champion = evaluation["baseline"], evaluation["champion"]
    external, shuffled = evaluation["external"], evaluation["shuffled"]
    yield "<h2>Beside other judges</h2>"
    rows: list[tuple[str, Mapping[str, Any], tuple[tuple[float, str], ...]]] = []
    rows.append(("This model", evaluation["metrics"]["roc_auc"], ()))
    if champion and champion.get("roc_auc"):
        rows.append((f"Champion, version {champion['version']}", champion["roc_auc"], ()))
    if baseline:
        rows.append(("15 numbers without anatomy", baseline["roc_auc"], ()))
    if shuffled.get("mean_auc") is not None:
        drawn = {"value": shuffled["mean_auc"], "ci_low": shuffled["auc_low"], "ci_high": shuffled["auc_high"]}
        rows.append(("Heads on shuffled labels", drawn, ()))
    if external:
        rows.append(("This model, external part", external["metrics"]["roc_auc"], ()))
    yield '<p class="soft">ROC AUC; the thin line is chance.</p>'
    yield from _forest((name, one, ((0.5, "whole"),)) for name, one, _ in rows)
    yield from _told(baseline, champion, external, shuffled)


def _told(
    baseline: Mapping[str, Any] | None,
    champion: Mapping[str, Any] | None,
    external: Mapping[str, Any] | None,
    shuffled: Mapping[str, Any],
) -> Iterator[str]:
    """The same in sentences, with what cannot be compared."""
    if baseline:
        yield (
            f"<p><b>Trivial baseline.</b> Boosted trees on brightness and sharpness alone. On the same patients the "
            f"model's ROC AUC lies {interval_of(baseline['delta'])} above theirs.</p>"
        )
    if champion:
        words = f"Version {escape(str(champion['version']))} {escape(champion['how'])}"
        delta = champion.get("delta")
        against = f"; the difference in ROC AUC on the same patients is {interval_of(delta)}" if delta else ""
        yield f"<p><b>Champion.</b> {words}{against}.</p>"
    else:
        yield "<p><b>Champion.</b> No version is in use, so there is nothing to compare with.</p>"
    if external:
        yield (
            f"<p><b>External part.</b> {counted(external['test']['image_sets'], 'image set')} of "
            f"{counted(external['test']['patients'], 'patient')} from data stores that never teach: accuracy "
            f"{interval_of(external['metrics']['accuracy'])}, calibration error "
            f"{interval_of(external['metrics']['ece'])}.</p>"
        )
    if shuffled.get("mean_auc") is not None:
        yield (
            f"<p><b>Shuffled labels.</b> The last line was taught anew on {shuffled['image_sets']} training image sets "
            f"with {shuffled['shuffles']} shuffles of their labels; on the true labels it reaches "
            f"{figure(shuffled['true_auc'])}. It shows that figures follow labels; it does not see shared patients or "
            "shortcuts, which are the guards' and the baseline's business.</p>"
        )
    if shuffled.get("p_value") is not None:
        yield f"<p>Shuffled test labels reach the model's ROC AUC with p = {shuffled['p_value']:.4f}.</p>"


def _subgroups(evaluation: Mapping[str, Any]) -> Iterator[str]:
    groups, whole = evaluation["subgroups"], evaluation["metrics"]["roc_auc"]["value"]
    allowed = evaluation["policy"]["subgroups"]["most_below"]
    judged = [group for group in groups if group["is_judged"]]
    yield "<h2>Subgroups</h2>"
    if judged and whole is not None:
        marks: tuple[tuple[float, str], ...] = ((whole, "whole"),)
        if allowed is not None:
            marks += ((whole - allowed, "limit"),)
        lows = [group["roc_auc"]["ci_low"] for group in judged if group["roc_auc"]["ci_low"] is not None]
        start = max(0.0, int(5 * min([*lows, whole - (allowed or 0)])) / 5)
        yield '<p class="soft">ROC AUC; the thin line is that of all, the dashed one the limit for a group.</p>'
        yield from _forest(((_group(group), group["roc_auc"], marks) for group in judged), (start, 1.0))
    few = [group for group in groups if not group["is_judged"]]
    if few:
        names = ", ".join(f"{_group(group)} ({group['image_sets']})" for group in few)
        yield f'<p class="notice"><b>Too few to say</b>, by image sets: {escape(names)}.</p>'


def _group(group: Mapping[str, Any]) -> str:
    return f"{group['by'].replace('_', ' ')}: {group['group']}"


def _guards(evaluation: Mapping[str, Any]) -> Iterator[str]:
    guards = evaluation["guards"]
    yield "<h2>Leakage guards</h2>"
    if not guards:
        yield "<p>None has reported.</p>"
        return
    yield '<ul class="rows">'
    for guard in guards:
        kind, word = ("passed", "✓ green") if guard.get("passed") else ("refused", "✗ red")
        if guard.get("warns"):
            kind, word = "warned", "! look"
        yield (
            f'<li class="rule"><span class="tag {kind}">{word}</span><span class="name">'
            f"{_word(str(guard.get('name', '')))}</span><p>{escape(_sentence(str(guard.get('sentence', ''))))}</p></li>"
        )
    yield "</ul>"


def _cases(evaluation: Mapping[str, Any], pictures: Mapping[str, bytes] | None) -> Iterator[str]:
    worst = evaluation["worst"]
    yield "<h2>Worst cases</h2>"
    if not worst:
        yield "<p>No test image set was called wrong.</p>"
        return
    yield "<p>Wrong, and the surest of it first."
    if any(case["has_saliency"] for case in worst):
        yield (
            " Left the tile that speaks most for the finding, right the Grad-CAM over it: where evidence for it "
            "came from, which is not where the finding is."
        )
    yield "</p>"
    if pictures is None:
        yield '<p class="notice">Pictures are left out for readers who may not see images.</p>'
    yield '<div class="cases">'
    for case in worst:
        picture = (pictures or {}).get(case["picture"])
        image = ""
        if picture is not None:
            data = base64.b64encode(picture).decode()
            image = f'<img alt="Image set {escape(case["image_set"])}" src="data:image/png;base64,{data}">'
        yield (
            f"<figure>{image}<figcaption><b>Called {_CLASSES[case['called']]}, is {_CLASSES[case['label']]}</b>, "
            f"probability {case['probability']:.3f}; tile {case['tile']} of {case['tiles']}.<br>"
            f"<code>{escape(case['image_set'])}</code></figcaption></figure>"
        )
    yield "</div>"


def _data(evaluation: Mapping[str, Any]) -> Iterator[str]:
    parts = evaluation["parts"]
    yield "<h2>Data</h2>"
    yield (
        '<div class="scroll"><table><tr><th>part</th><th class="number">patients</th><th class="number">image sets</th>'
        '<th class="number">present</th><th class="number">absent</th></tr>'
    )
    for name, part in parts.items():
        cells = (part["patients"], part["image_sets"], part["positives"], part["negatives"])
        yield f"<tr><td>{escape(name)}</td>{''.join(f'<td class=number>{cell}</td>' for cell in cells)}</tr>"
    yield "</table></div><h3>The test part is made of</h3><dl>"
    test = parts["test"]
    for name in ("modality", "sex", "age_band", "source", "scanner", "view", "licence", "reads"):
        yield f"<dt>{_word(name)}</dt><dd>{escape(listed(test[name]))}</dd>"
    yield "</dl>"


def _unanswered(evaluation: Mapping[str, Any], checklists: Mapping[str, Any]) -> Iterator[str]:
    few = sum(not group["is_judged"] for group in evaluation["subgroups"])
    yield "<h2>What this does not answer</h2><ul>"
    if evaluation["external"] is None:
        yield "<li>How the model does on patients of another site: there was no external part.</li>"
    if few:
        yield f"<li>How it does in {counted(few, 'group')} with too few image sets to say.</li>"
    yield "<li>Whether readers do better with it than without it.</li>"
    yield "<li>How it does where the finding is rarer, or where other diseases look alike.</li></ul>"
    yield "<h3>Reporting checklists</h3>"
    for name, checklist in checklists.items():
        total = len(checklist["items"])
        yield (
            f"<details><summary>{escape(name)}: {checklist['answered']} of {total} items answered from data, "
            f"{total - checklist['answered']} open</summary><ul class=rows>"
        )
        for item in checklist["items"]:
            is_open = item["status"] == "open"
            kind, word = ("warned", "open") if is_open else ("passed", "answered")
            words = item["need"] if is_open else item["answer"]
            yield (
                f'<li class="rule"><span class="tag {kind}">{word}</span><span class="name">{escape(item["number"])}. '
                f"{escape(item['asks'])}</span><p>{escape(words)}</p></li>"
            )
        yield "</ul></details>"


def _origin(evaluation: Mapping[str, Any]) -> Iterator[str]:
    yield "<h2>Where it comes from</h2><dl>"
    for name in ("model_sha256", "dataset_sha256", "test_manifest_sha256", "policy_sha256"):
        word = name.removesuffix("_sha256").replace("_", " ")
        yield f"<dt>{word.capitalize()}, SHA-256</dt><dd><code>{escape(str(evaluation[name]))}</code></dd>"
    code = evaluation["lineage"].get("code") or {}
    if code:
        version, digest = (escape(str(code.get(name))) for name in ("radloop", "sha256"))
        yield f"<dt>Code</dt><dd>radloop {version} <code>{digest}</code></dd>"
    yield "</dl>"


def _sentence(text: str) -> str:
    """A sentence as others tell it, with a capital and a full stop."""
    return text if not text else text[0].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _word(name: str) -> str:
    words = name.replace("_", " ").replace("-", " ").capitalize()
    return escape(words.replace("Roc auc", "ROC AUC"))
