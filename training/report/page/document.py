"""The report as one self-contained HTML page: no script, no style sheet, no network.

Runs in the final training job. Every name that comes from the data is escaped.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from training.report.page.data import photos
from training.report.page.evaluation import calibration, classes, figures, verdict, worst_errors
from training.report.page.insights import STYLE as INSIGHTS_STYLE
from training.report.page.insights import insight_cards
from training.report.page.profile import machine
from training.report.page.rules import STYLE as RULES_STYLE
from training.report.page.rules import no_rules, rules
from training.report.svg import line_chart
from training.report.tables import table

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:960px;margin:2rem auto;padding:0 1rem;color:#222}
h1{font-size:1.6rem}h2{font-size:1.15rem;margin-top:2.2rem}
svg{max-width:460px;width:100%;font:11px system-ui,sans-serif}svg.half{max-width:300px}
svg .grid{stroke:#e5e5e5}svg .mark{stroke:#555;stroke-dasharray:3 3}
table{border-collapse:collapse;max-width:100%}.wide{overflow-x:auto}
th,td{text-align:left;padding:.25rem .6rem;border-bottom:1px solid #e5e5e5;overflow-wrap:break-word}
td.number,th.number{text-align:right;font-variant-numeric:tabular-nums}
.plain td.number{text-align:left}.side{display:flex;flex-wrap:wrap;gap:0 3rem}
.charts{display:flex;flex-wrap:wrap;gap:.5rem;align-items:flex-start}
.verdict{font-size:1.15rem;background:#f3f6f9;padding:.8rem 1rem;border-radius:6px}
.gallery{display:grid;grid-template-columns:repeat(auto-fill,minmax(140px,1fr));gap:.8rem}
figure{margin:0;font-size:.85rem;overflow-wrap:anywhere}figure img{width:100%;height:130px;object-fit:contain;background:#f3f6f9}
"""


def render_page(
    contents: Mapping[str, Any],
    best_epoch: int,
    description: Mapping[str, Any],
    pictures: Sequence[bytes] = (),
    profiler_report: str | None = None,
) -> str:
    """Return the page.

    Args:
        contents: what the JSON files hold, by name: data, history, evaluation, insights, rule_statuses, profiler_rule_statuses, profile.
        best_epoch: the epoch whose weights were kept, from 1.
        description: what model.json holds.
        pictures: a small JPEG of each of the worst errors, or none.
        profiler_report: the file name of the profiler report in the same folder; None if it was not written.
    """
    evaluation, nothing = contents["evaluation"], no_rules(description["hyperparameters"].get("debugger", "off"))
    sections = (
        verdict(evaluation, best_epoch),
        insight_cards(contents["insights"]),
        _curves(contents["history"], best_epoch),
        figures(evaluation, description),
        rules("Debugger rules", contents["rule_statuses"], nothing),
        machine(contents["profile"], profiler_report),
        rules("Profiler rules", contents["profiler_rule_statuses"], nothing),
        calibration(evaluation),
        classes(evaluation),
        worst_errors(evaluation["worst_errors"], pictures),
        photos(contents["data"]),
        _provenance(description),
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Training report</title><style>{_STYLE}{INSIGHTS_STYLE}{RULES_STYLE}</style></head>"
        f"<body><h1>Training report</h1>{''.join(sections)}</body></html>\n"
    )


def _curves(history: Sequence[Mapping[str, float]], best_epoch: int) -> str:
    charts = (
        line_chart(title, {name: [epoch[f"{name}_{kind}"] for epoch in history] for name in ("train", "valid")}, best_epoch)
        for title, kind in (("Loss per photo, by epoch", "loss"), ("Accuracy, by epoch", "accuracy"))
    )
    rows = ([epoch["epoch"], *(f"{epoch[key]:.4f}" for key in _EPOCH_COLUMNS), f"{epoch['seconds']:.2f}"] for epoch in history)
    numbers = table(("epoch", "train loss", "train accuracy", "valid loss", "valid accuracy", "seconds"), rows)
    return f"<h2>Training</h2>{''.join(charts)}<details><summary>Table</summary>{numbers}</details>"


_EPOCH_COLUMNS = ("train_loss", "train_accuracy", "valid_loss", "valid_accuracy")


_PROVENANCE = ("hashes", "data_set", "backbone", "preprocessing", "hyperparameters", "versions")


def _provenance(description: Mapping[str, Any]) -> str:
    rows = [[f"{group}: {key}", value] for group in _PROVENANCE for key, value in description.get(group, {}).items()]
    return f'<h2>Provenance</h2><div class="plain">{table(("what", "value"), rows)}</div>'
