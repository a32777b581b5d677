"""The sections of the profiler report, one function each; they return HTML, also if there is nothing to show.

Runs in training jobs after the training.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from html import escape

import numpy as np

from training.profiler.metrics import Floats, Metrics, Series
from training.profiler.page_charts import (
    COLOURS,
    PHASE_COLOURS,
    duration,
    heat_map,
    histogram,
    number,
    rows_chart,
    shares_bar,
    step_course,
    timeline,
)
from training.profiler.rules.profiler_rule import Finding, ProfilerRule, highest, statistics

PARTS = {"initialization": "#e69f00", "training loop": "#0072b2", "finalization": "#999999"}
ROWS = ("max", "p99", "p95", "p50", "min")

WHAT = {
    "BatchSize": "CPU, GPU and GPU memory are all used little: the batch could be larger.",
    "CPUBottleneck": "A GPU waits while a CPU core is at its limit.",
    "IOBottleneck": "The training waits for a disk.",
    "LowGPUUtilization": "A GPU computes little, or only at times.",
    "GPUMemoryIncrease": "A GPU's memory keeps growing.",
    "LoadBalancing": "One of several GPUs, or cores, has far more or less work than the others.",
    "MaxInitializationTime": "The first step begins late.",
    "StepOutlier": "Some steps take far longer than the others.",
    "Dataloader": "Training steps wait for their photos.",
    "OverallSystemUsage": "Utilization of the machine; never triggers.",
    "OverallFrameworkMetrics": "Time of the steps by phase; never triggers.",
}


def job_summary(metrics: Metrics) -> str:
    """Return the start and duration of each part of the job."""
    if not metrics.ended:
        return "<h2>Training job summary</h2><p>Nothing was measured.</p>"
    rows: list[tuple[str, str, str]] = [("start_time", _moment(metrics.started), ""), ("end_time", _moment(metrics.ended), "")]
    whole = metrics.seconds or 1.0
    rows.append(("job_duration", duration(metrics.seconds), "100 %"))
    bar = ""
    if metrics.loop:
        begin, end = metrics.loop
        lengths = (begin - metrics.started, end - begin, max(0.0, metrics.ended - end))
        rows += [("training_loop_start", _moment(begin), ""), ("training_loop_end", _moment(end), "")]
        rows += [(name, duration(max(0.0, length)), f"{100 * length / whole:.0f} %") for name, length in zip(PARTS, lengths, strict=True)]
        shares = {name: max(0.0, length) / whole for name, length in zip(PARTS, lengths, strict=True)}
        bar = shares_bar("Time of the job by part", {"job": shares}, PARTS)
    steps = "; ".join(f"{of.count:,} {mode} steps" for mode, of in metrics.steps.items())
    said = (
        f"<p>{escape(steps)} on {escape(metrics.device or 'an unknown device')}, {len(metrics.cores)} cores, {len(metrics.gpus)} GPUs.</p>"
    )
    return f"<h2>Training job summary</h2>{said}{bar}{_table(('', 'value', 'of the job'), rows)}"


def system_usage(metrics: Metrics) -> str:
    """Return percentiles of each resource, and charts over time."""
    if not metrics.cores:
        return "<h2>System usage statistics</h2><p>The machine was not sampled.</p>"
    span, loop = (metrics.started, metrics.ended), metrics.loop
    usage: dict[str, Floats] = {
        "CPU, %": metrics.cpu().values,
        "I/O wait, %": metrics.io_wait().values,
        "CPU memory, %": metrics.memory.values,
    }
    usage |= {f"{name}, %": values.values for name, values in metrics.gpus.items()}
    usage |= {f"{name} memory, %": values.values for name, values in metrics.gpu_memory.items()}
    usage |= {f"{_spaced(name)}": values.values for name, values in {**metrics.disk, **metrics.network}.items()}
    rows = [(name, *(number(statistics(values)[key]) for key in ROWS)) for name, values in usage.items() if len(values)]
    charts = [timeline("CPU, mean of all cores, and I/O wait, %", {"CPU": metrics.cpu(), "I/O wait": metrics.io_wait()}, span, loop, 100)]
    if metrics.gpus:
        charts.append(timeline("GPU utilization, %", metrics.gpus, span, loop, 100))
        charts.append(timeline("GPU memory, %", metrics.gpu_memory, span, loop, 100))
    charts.append(heat_map("Each core's utilization over time", metrics.cores, span, loop))
    charts.append(timeline("Memory of the machine, %", {"memory": metrics.memory}, span, loop, 100))
    charts += _rates(metrics)
    lead = "<p>Grey: before the first step and after the last one. Pale band: minimum to maximum of the samples in one point.</p>"
    return f"<h2>System usage statistics</h2>{_table(('resource', *ROWS), rows)}{lead}{''.join(charts)}"


def _rates(metrics: Metrics) -> Iterable[str]:
    span, loop = (metrics.started, metrics.ended), metrics.loop
    disk = {name.removesuffix("ThroughputInBytesPerSecond").lower(): values for name, values in metrics.disk.items() if "Bytes" in name}
    network = {name.removesuffix("BytesPerSecond").lower(): values for name, values in metrics.network.items()}
    for title, lines in (("Disk, bytes per second", disk), ("Network, bytes per second", network)):
        if lines:
            yield timeline(title, lines, span, loop)


def framework(metrics: Metrics) -> str:
    """Return the time of the steps by phase, and the longest operators."""
    heading = "<h2>Framework metrics summary</h2>"
    if not metrics.steps:
        return f"{heading}<p>No step was recorded.</p>"
    parts = []
    bars = {mode: dict(steps.phases) for mode, steps in metrics.steps.items() if steps.phases}
    if bars:
        parts.append(shares_bar("Time of a step by phase", bars, PHASE_COLOURS))
    total = {mode: float(steps.seconds.mean()) * steps.count for mode, steps in metrics.steps.items()}
    total["saving between steps"] = sum(seconds for _, seconds in metrics.between)
    whole = (metrics.loop[1] - metrics.loop[0] if metrics.loop else 0.0) or 1.0
    total["other time between steps"] = max(0.0, whole - sum(total.values()))
    rows = [(name, duration(seconds), f"{100 * seconds / whole:.0f} %") for name, seconds in total.items() if seconds]
    parts.append(_table(("", "time", "of the training loop"), rows))
    if metrics.operators:
        parts.append(_operators(metrics))
    return f"{heading}{''.join(parts)}"


def _operators(metrics: Metrics) -> str:
    place = "cuda_ms" if any(operator["cuda_ms"] for operator in metrics.operators) else "cpu_ms"
    ordered = sorted(metrics.operators, key=lambda operator: -operator[place])
    total = sum(operator[place] for operator in ordered) or 1.0
    bars = [
        (operator["name"], operator[place], f"{operator[place]:.1f} ms, {100 * operator[place] / total:.0f} %, {operator['calls']:,} calls")
        for operator in ordered[:10]
    ]
    where = "GPU" if place == "cuda_ms" else "CPU"
    trace = "<p>framework/torch-profiler/trace.json.gz has each call of these steps: open it at ui.perfetto.dev.</p>"
    return rows_chart(f"Longest operators on the {where}, in a few steps", bars) + trace


def rules_summary(findings: Mapping[str, Finding], rules: Mapping[str, ProfilerRule]) -> str:
    """Return a row per rule, those that found an issue first."""
    ordered = sorted(findings.items(), key=lambda item: (not item[1].triggered, not item[1].unjudged))
    rows = "".join(_rule_row(name, finding, rules[name]) for name, finding in ordered)
    head = "".join(
        f"<th{' class=number' if of_numbers else ''}>{text}</th>"
        for text, of_numbers in (("rule", False), ("result", False), ("triggered", True), ("datapoints", True))
    )
    return f'<h2>Rules summary</h2><div class="wide rules"><table><tr>{head}</tr>{rows}</table></div>'


def _rule_row(name: str, finding: Finding, rule: ProfilerRule) -> str:
    kind = "found" if finding.triggered else "open" if finding.unjudged else "fine"
    given = str(rule.report(finding)["RuleParameters"]).splitlines()
    parameters = ", ".join(parameter.replace(":", " ") for parameter in given if not parameter.startswith("scan_interval_us"))
    change = f"<br><b>{escape(finding.advice)}</b>" if finding.advice else ""
    about = f'<br>{escape(WHAT.get(name, ""))}<br><span class="parameters">{escape(parameters)}</span>'
    numbers = f'<td class="number">{finding.triggered}</td><td class="number">{finding.datapoints:,}</td>'
    return f'<tr><td><span class="{kind}">{escape(name)}</span>{about}</td><td>{escape(finding.said)}{change}</td>{numbers}</tr>'


def step_durations(metrics: Metrics, finding: Finding | None) -> str:
    """Return statistics, histograms and a chart over time of the step durations."""
    heading = "<h2>Analyzing the training loop: step durations</h2>"
    if not metrics.steps or not metrics.loop:
        return f"{heading}<p>No step was recorded.</p>"
    charts, rows = [], []
    for (mode, steps), _colour in zip(metrics.steps.items(), COLOURS, strict=False):
        numbers = statistics(steps.seconds)
        rows.append((mode, f"{steps.count:,}", *(duration(numbers[key]) for key in (*ROWS, "mean"))))
        marks = {f"p50 {duration(numbers['p50'])}": numbers["p50"]}
        if len(steps) >= 20:
            marks[f"p95 {duration(numbers['p95'])}"] = numbers["p95"]
        charts.append(histogram(f"Duration of {mode} steps, number of steps", {mode: steps.seconds}, duration, marks))
    course = {mode: (steps.starts, steps.seconds) for mode, steps in metrics.steps.items()}
    charts.append(step_course("Duration of each step, over the time of the job", course, (metrics.started, metrics.ended), metrics.loop))
    return f"{heading}{_said(finding)}{_table(('', 'steps', *ROWS, 'mean'), rows)}{''.join(charts)}"


def gpu_utilization(metrics: Metrics, finding: Finding | None) -> str:
    """Return histograms of the GPUs' utilization."""
    return _section("GPU utilization analysis", finding, lambda: _spread("GPU utilization, number of samples", metrics.gpus, metrics))


def batch_size(finding: Finding | None) -> str:
    """Return whether a larger batch would fit; its charts are in the section on system usage."""
    return _section("Batch size", finding, lambda: "")


def cpu_bottlenecks(metrics: Metrics, finding: Finding | None) -> str:
    """Return the GPUs and the busiest core over time."""
    return _section("CPU bottlenecks", finding, lambda: _beside(metrics, metrics.cores, "busiest core"))


def io_bottlenecks(metrics: Metrics, finding: Finding | None) -> str:
    """Return the GPUs, or the CPU, and the core that waits longest over time."""
    return _section("I/O bottlenecks", finding, lambda: _beside(metrics, metrics.waits, "I/O wait of the core that waits longest"))


def dataloading(finding: Finding | None) -> str:
    """Return how long the training waited for photos."""
    return _section("Dataloading analysis", finding, lambda: "")


def load_balancing(metrics: Metrics, finding: Finding | None) -> str:
    """Return the histograms of all GPUs or cores."""
    workers, kind = (metrics.gpus, "GPU") if metrics.gpus else (metrics.cores, "core")
    return _section("Load balancing", finding, lambda: _spread(f"Utilization of each {kind}, number of samples", workers, metrics))


def gpu_memory(metrics: Metrics, finding: Finding | None) -> str:
    """Return the memory of GPUs over time."""
    span = (metrics.started, metrics.ended)
    return _section(
        "GPU memory analysis",
        finding,
        lambda: timeline("GPU memory, %", metrics.gpu_memory, span, metrics.loop) if metrics.gpu_memory else "",
    )


def _section(title: str, finding: Finding | None, chart: Callable[[], str]) -> str:
    """Return a section; as in the service's report, a chart only if the rule found an issue."""
    drawn = chart() if finding and finding.triggered else ""
    return f"<h2>{title}</h2>{_said(finding)}{drawn}"


def _said(finding: Finding | None) -> str:
    if finding is None:
        return "<p>The rule was not evaluated.</p>"
    kind = "found" if finding.triggered else "open" if finding.unjudged else "fine"
    change = f" <b>{escape(finding.advice)}</b>" if finding.advice else ""
    return f'<p><span class="{kind}">{escape(finding.said[:1].upper() + finding.said[1:])}.</span>{change}</p>'


def _spread(title: str, series: Mapping[str, Series], metrics: Metrics) -> str:
    inside = {name: values.between(*metrics.loop).values if metrics.loop else values.values for name, values in list(series.items())[:8]}
    shown = {name: values for name, values in inside.items() if len(values)}
    return histogram(title, shown, lambda value: f"{value:.0f} %") if shown else ""


def _beside(metrics: Metrics, cores: Mapping[str, Series], name: str) -> str:
    lines = dict(metrics.gpus) or {"CPU": metrics.cpu()}
    times = next(iter(lines.values())).times
    lines[name] = Series(times, highest(cores, times))
    return timeline(f"{' and '.join(lines)}, %", lines, (metrics.started, metrics.ended), metrics.loop, 100)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    cells = "".join(f"<th{' class=number' if place else ''}>{escape(text)}</th>" for place, text in enumerate(head))
    body = "".join(
        "<tr>" + "".join(f"<td{' class=number' if place else ''}>{escape(str(text))}</td>" for place, text in enumerate(row)) + "</tr>"
        for row in rows
    )
    return f'<div class="wide"><table><tr>{cells}</tr>{body}</table></div>'


def _spaced(name: str) -> str:
    """Return one of the service's metric names as words: ReadThroughputInBytesPerSecond -> read, bytes/s."""
    if not name.endswith("BytesPerSecond"):
        return "disk operations/s" if name == "IOPS" else name
    short = name.removesuffix("BytesPerSecond").removesuffix("ThroughputIn").lower()
    return f"{'disk' if short in ('read', 'write') else 'network'} {short}, bytes/s"


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(float(np.floor(seconds)), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
