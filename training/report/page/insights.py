"""The first section of the report page: the insights, as cards.

Runs in the final training job. Takes what report/insights.json holds, see training/rule_evaluation/insight.py.
"""

from collections.abc import Mapping, Sequence
from html import escape

STYLE = """
.insight{border-left:5px solid #777;background:#fafafa;border-radius:0 6px 6px 0;padding:.55rem 1rem;margin:.6rem 0}
.insight b.what{font-size:1.05rem}.insight p{margin:.2rem 0}.insight .seen{color:#555;font-size:.85rem;overflow-wrap:anywhere}
.insight .kind{float:right;margin-left:1rem;font-size:.75rem;letter-spacing:.04em;text-transform:uppercase}
.problem{border-color:#b3261e;background:#fdf1f0}.problem .kind{color:#b3261e}
.warning{border-color:#d55e00;background:#fdf5ee}.warning .kind{color:#a84a00}
.note{border-color:#0072b2;background:#f1f6fa}.note .kind{color:#005a8c}
.good{border-color:#009e73;background:#eff8f4}.good .kind{color:#006b4f}
"""


def insight_cards(insights: Sequence[Mapping[str, str]]) -> str:
    """Return a card for each insight, in the given order."""
    return f"<h2>Findings and what to change</h2>{''.join(map(_card, insights))}" if insights else ""


def _card(insight: Mapping[str, str]) -> str:
    severity = escape(insight["severity"])
    change = f"<p><b>Change:</b> {escape(insight['change'])}</p>" if insight["change"] else ""
    why = f"<p>{escape(insight['why'])}</p>" if insight["why"] else ""
    seen = ". ".join(escape(part) for part in (insight["evidence"], f"From: {insight['source']}") if part)
    return (
        f'<div class="insight {severity}"><span class="kind">{severity}</span><p><b class="what">{escape(insight["what"])}</b></p>'
        f'{why}{change}<p class="seen">{seen}</p></div>'
    )
