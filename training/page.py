"""The report as one HTML page that needs nothing beside it: no script, no style sheet, no network.

Runs in the final training job. Every name that comes from the data is escaped.
"""

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from training.charts import MAX_DRAWN, confusion_chart, line_chart

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:960px;margin:2rem auto;padding:0 1rem;color:#222}
h1{font-size:1.6rem}h2{font-size:1.15rem;margin-top:2.2rem}
svg{max-width:460px;width:100%;font:11px system-ui,sans-serif}svg .grid{stroke:#e5e5e5}svg .mark{stroke:#555;stroke-dasharray:3 3}
table{border-collapse:collapse;max-width:100%}
th,td{text-align:left;padding:.25rem .6rem;border-bottom:1px solid #e5e5e5;overflow-wrap:break-word}
td.number,th.number{text-align:right;font-variant-numeric:tabular-nums}
.verdict{font-size:1.15rem;background:#f3f6f9;padding:.8rem 1rem;border-radius:6px}
.IssuesFound,.Error{color:#a33b00;font-weight:bold}.NoIssuesFound{color:#006b4f}
"""


def render_page(contents: Mapping[str, Any], best_epoch: int, description: Mapping[str, Any], pictures: Sequence[bytes] = ()) -> str:
    """Return the page.

    Args:
        contents: what the JSON files hold, by name: data, history, evaluation, rule_statuses.
        best_epoch: the epoch whose weights were kept, from 1.
        description: what model.json holds.
        pictures: a small JPEG of each of the worst errors, or none.
    """
    sections = (
        _verdict(contents["evaluation"], contents["rule_statuses"], best_epoch),
        _curves(contents["history"], best_epoch),
        _rules(contents["rule_statuses"]),
        _classes(contents["evaluation"]),
        _worst_errors(contents["evaluation"]["worst_errors"], pictures),
        _photos(contents["data"]),
        _provenance(description),
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Training report</title><style>{_STYLE}</style></head><body><h1>Training report</h1>{''.join(sections)}</body></html>\n"
    )


def _verdict(evaluation: Mapping[str, Any], statuses: Sequence[Mapping[str, str]], best_epoch: int) -> str:
    biggest = max(figures["photos"] for figures in evaluation["per_class"]) / sum(figures["photos"] for figures in evaluation["per_class"])
    issues = [status["RuleConfigurationName"] for status in statuses if status["RuleEvaluationStatus"] != "NoIssuesFound"]
    said = f"rules to look at: {', '.join(issues)}" if issues else ("no rule found an issue" if statuses else "the debugger was off")
    return (
        f'<p class="verdict">Test accuracy <b>{evaluation["test_accuracy"]:.1%}</b> (always naming the biggest class: {biggest:.1%}), '
        f"validation accuracy {evaluation['valid_accuracy']:.1%}, weights of epoch {best_epoch}; {escape(said)}.</p>"
    )


def _curves(history: Sequence[Mapping[str, float]], best_epoch: int) -> str:
    charts = (
        line_chart(title, {name: [epoch[f"{name}_{kind}"] for epoch in history] for name in ("train", "valid")}, best_epoch)
        for title, kind in (("Loss a photo, by epoch", "loss"), ("Accuracy, by epoch", "accuracy"))
    )
    rows = ([epoch["epoch"], *(f"{epoch[key]:.4f}" for key in _EPOCH_COLUMNS), f"{epoch['seconds']:.2f}"] for epoch in history)
    numbers = _table(("epoch", "train loss", "train accuracy", "valid loss", "valid accuracy", "seconds"), rows)
    return f"<h2>Training</h2>{''.join(charts)}<details><summary>The numbers</summary>{numbers}</details>"


_EPOCH_COLUMNS = ("train_loss", "train_accuracy", "valid_loss", "valid_accuracy")


def _rules(statuses: Sequence[Mapping[str, str]]) -> str:
    if not statuses:
        return "<h2>Debugger rules</h2><p>The debugger was off: nothing was judged.</p>"
    rows = "".join(
        f'<tr><td>{escape(status["RuleConfigurationName"])}</td><td class="{escape(status["RuleEvaluationStatus"])}">'
        f"{escape(status['RuleEvaluationStatus'])}</td><td>{escape(status['StatusDetails'])}</td></tr>"
        for status in statuses
    )
    return f"<h2>Debugger rules</h2><table><tr><th>rule</th><th>status</th><th>details</th></tr>{rows}</table>"


def _classes(evaluation: Mapping[str, Any]) -> str:
    rows = ([row["name"], row["photos"], *(_share(row[key]) for key in ("precision", "recall", "f1"))] for row in evaluation["per_class"])
    confused = [[row["shown"], row["called"], row["photos"]] for row in evaluation["most_confused"]]
    pairs = _table(("shows", "was called", "photos"), confused) if confused else "<p>None: every test photo was named rightly.</p>"
    return (
        f"<h2>Test photos, class by class</h2>{_table(('class', 'photos', 'precision', 'recall', 'F1'), rows)}"
        f"<h2>Confusion matrix</h2>{_matrix(evaluation)}<h2>Most confused</h2>{pairs}"
    )


def _matrix(evaluation: Mapping[str, Any]) -> str:
    classes = evaluation["classes"]
    if len(classes) > MAX_DRAWN:
        return f"<p>{len(classes)} classes are too many to draw: evaluation.json holds the matrix.</p>"
    chart = confusion_chart(evaluation["confusion_matrix"], classes)
    return f"<p>Rows: what the photo shows. Columns: what it was called.</p>{chart}"


def _worst_errors(errors: Sequence[Mapping[str, Any]], pictures: Sequence[bytes]) -> str:
    """Return the test photos that the model was surest to name wrongly, as pictures where there are any."""
    if not errors:
        return ""
    shown = pictures or [b""] * len(errors)
    return f'<h2>Worst errors</h2><div class="gallery">{"".join(map(_worst_error, errors, shown))}</div>'


def _worst_error(error: Mapping[str, Any], picture: bytes) -> str:
    image = f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(picture).decode()}">' if picture else ""
    said = f"shows <b>{escape(error['shown'])}</b>, called <b>{escape(error['called'])}</b> with {error['probability']:.1%}"
    return f"<figure>{image}<figcaption>{said}<br><small>{escape(error['file'])}</small></figcaption></figure>"


def _photos(data: Mapping[str, Any]) -> str:
    splits = list(data["photos"])
    rows = ([name, *(data["photos"][split][name] for split in splits)] for name in data["classes"])
    left_out = [[item["file"], item["reason"]] for item in data["left_out"]]
    listed = _table(("file", "reason"), left_out) if left_out else "<p>None: every file was a photo that could be read.</p>"
    return f"<h2>Photos</h2>{_table(('class', *splits), rows)}<h2>Files left out</h2>{listed}"


def _provenance(description: Mapping[str, Any]) -> str:
    groups = ("backbone", "preprocessing", "hyperparameters", "versions")
    rows = ([f"{group}: {key}", value] for group in groups for key, value in description[group].items())
    return f"<h2>Where it comes from</h2>{_table(('what', 'value'), rows)}"


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"  # noqa: RUF001 - the dash of an empty cell


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table, everything escaped, numbers to the right."""
    names = "".join(f"<th>{escape(name)}</th>" for name in head)
    body = "".join(f"<tr>{''.join(map(_table_cell, row))}</tr>" for row in rows)
    return f"<table><tr>{names}</tr>{body}</table>"


def _table_cell(value: object) -> str:
    text = str(value)
    kind = ' class="number"' if isinstance(value, int) or text.replace(".", "", 1).isdigit() else ""
    return f"<td{kind}>{escape(text)}</td>"
