"""profiler-report.html: the sections of the service's report after the findings and what to change. One file: no script, no network.

Runs in training jobs after the training.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from training.profiler.metrics import Metrics
from training.profiler.page_sections import (
    batch_size,
    cpu_bottlenecks,
    dataloading,
    framework,
    gpu_memory,
    gpu_utilization,
    io_bottlenecks,
    job_summary,
    load_balancing,
    rules_summary,
    step_durations,
    system_usage,
)
from training.profiler.rules.profiler_rule import Finding, ProfilerRule
from training.rule_evaluation.insight import Insight

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:960px;margin:2rem auto;padding:0 1rem;color:#222}
h1{font-size:1.6rem;margin-bottom:.2rem}h2{font-size:1.2rem;margin-top:2.4rem;border-bottom:1px solid #e5e5e5;padding-bottom:.2rem}
svg{width:100%;font:11px system-ui,sans-serif;margin:.5rem 0;display:block}svg .title{font-weight:600;font-size:12px}
svg .grid{stroke:#e8e8e8}svg .mark{stroke:#555;stroke-dasharray:3 3}svg .outside{fill:#f1f1f1}svg .said{fill:#444}
table{border-collapse:collapse;max-width:100%}.wide{overflow-x:auto}
th,td{text-align:left;padding:.25rem .6rem;border-bottom:1px solid #e5e5e5;vertical-align:top}
td.number,th.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
ul.advice{list-style:none;padding:0}ul.advice li{padding:.5rem .8rem;margin:.4rem 0;border-left:4px solid #999;background:#f6f8fa}
ul.advice li.warning{border-color:#d55e00;background:#fdf3ec}ul.advice li.good{border-color:#009e73;background:#eef8f4}
ul.advice b{display:block}.found{color:#a33b00;font-weight:600}.fine{color:#006b4f}.open{color:#666}
.rules td:nth-child(1){width:38%}p.lead{color:#555;margin-top:0}.parameters{color:#666;font-size:.85rem}
"""

NOTHING = '<li class="good">No profiler rule found an issue.</li>'


def render(
    metrics: Metrics,
    findings: Mapping[str, Finding],
    rules: Mapping[str, ProfilerRule],
    profile: Mapping[str, Any],
    advice: Sequence[Insight],
) -> str:
    """Return the page.

    Args:
        metrics: the measurements.
        findings: rule -> its result, in the order of the page.
        rules: the same rules, with their parameters.
        profile: the document that training.profiler.profile returns.
        advice: the insights that training.profiler.advice returns; the training report shows the same.
    """
    sections = (
        _advice(advice),
        job_summary(metrics),
        system_usage(metrics),
        framework(metrics),
        rules_summary(findings, rules),
        step_durations(metrics, findings.get("StepOutlier")),
        gpu_utilization(metrics, findings.get("LowGPUUtilization")),
        batch_size(findings.get("BatchSize")),
        cpu_bottlenecks(metrics, findings.get("CPUBottleneck")),
        io_bottlenecks(metrics, findings.get("IOBottleneck")),
        dataloading(findings.get("Dataloader")),
        load_balancing(metrics, findings.get("LoadBalancing")),
        gpu_memory(metrics, findings.get("GPUMemoryIncrease")),
    )
    problem = f'<p class="found">The measurements are incomplete: {escape(str(profile["problem"]))}.</p>' if profile.get("problem") else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>Profiler report</title><style>{_STYLE}</style></head><body><h1>Profiler report</h1>"
        f'<p class="lead">Where the time of the training job went, and what to change.</p>{problem}{"".join(sections)}</body></html>\n'
    )


def _advice(advice: Sequence[Insight]) -> str:
    items = "".join(
        f'<li class="{escape(each.severity)}"><b>{escape(each.what)}</b>{escape(each.why)} <b>{escape(each.change)}</b>'
        f'<span class="parameters">{escape(each.evidence)}. From: {escape(each.source)}</span></li>'
        for each in advice
    )
    return f'<h2>What to change</h2><ul class="advice">{items or NOTHING}</ul>'
