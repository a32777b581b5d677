"""The section of the report page on the machine: time of a step by phase, utilization, longest operators.

Runs in the final training job. Takes what report/profile.json holds; timelines are in the profiler's own report, which is linked.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from training.report.svg import COLOURS, Bar, bar_chart, range_chart, stacked_chart

PHASES = {"data": COLOURS[1], "forward": "#56b4e9", "backward": COLOURS[0], "optimizer": COLOURS[2], "save": COLOURS[3], "rest": "#999"}
"""The phases of a step in their order, and their colours; waiting for data stands out."""
SHOWN_OPERATORS = 10
MOST_CORES = 32
"""Cores up to which each one is drawn."""


def machine(profile: Mapping[str, Any], link: str | None) -> str:
    """Return charts of the profile; `link`: the profiler report in the same folder, if it was written."""
    if not profile:
        return ""
    problem = f"<p>The measurements are incomplete: {escape(str(profile['problem']))}</p>" if profile.get("problem") else ""
    more = f'<p><a href="{escape(link)}">The profiler report</a> shows these values over time.</p>' if link else ""
    charts = (_phases(profile.get("steps") or {}), _usage(profile), _cores(profile), _operators(profile.get("operators") or ()))
    return f'<h2>Time and machine</h2>{problem}<p>{escape(_sentence(profile))}</p>{more}<div class="charts">{"".join(charts)}</div>'


def _sentence(profile: Mapping[str, Any]) -> str:
    parts = []
    if "seconds" in profile:
        before = (
            f", {profile['initialization_s']:.1f} s of them before the first step" if profile.get("initialization_s") is not None else ""
        )
        parts.append(f"Measured for {profile['seconds']:.1f} s{before}.")
    train = (profile.get("steps") or {}).get("train") or {}
    if train.get("count"):
        parts.append(f"{train['count']:,} training steps: median {train['p50_ms']:.1f} ms, maximum {train['max_ms']:.1f} ms.")
    return " ".join(parts)


def _phases(steps: Mapping[str, Mapping[str, Any]]) -> str:
    """Return a bar for each mode, divided by phase."""
    timed = {mode: step["phases"] for mode, step in steps.items() if step.get("count") and step.get("phases")}
    bars = {mode: {**phases, "rest": max(0.0, 1.0 - sum(phases.values()))} for mode, phases in timed.items()}
    colours = {name: colour for name, colour in PHASES.items() if any(phases.get(name, 0.0) > 0.001 for phases in bars.values())}
    return stacked_chart("Time of a step by phase", bars, colours) if bars and colours else ""


def _usage(profile: Mapping[str, Any]) -> str:
    """Return the utilization of each part of the machine, in percent."""
    parts = {"CPU": profile.get("cpu"), "waiting for I/O": profile.get("io_wait"), "memory": profile.get("memory")}
    for gpu in profile.get("gpu") or ():
        parts |= {gpu["name"]: gpu.get("utilization"), f"{gpu['name']} memory": gpu.get("memory")}
    measured = {name: part for name, part in parts.items() if part and "mean" in part}
    return range_chart("Utilization of the machine, in percent", measured) if measured else ""


def _cores(profile: Mapping[str, Any]) -> str:
    loads = (profile.get("cpu") or {}).get("per_core") or []
    if not 2 <= len(loads) <= MOST_CORES:
        return ""
    return bar_chart("Mean load by core, in percent", [Bar(f"core {number}", load) for number, load in enumerate(loads)], 100.0)


def _operators(operators: Sequence[Mapping[str, Any]]) -> str:
    on_gpu = any(each.get("cuda_ms") for each in operators)
    key, place = ("cuda_ms", "GPU") if on_gpu else ("cpu_ms", "CPU")
    longest = sorted(operators, key=lambda each: -float(each.get(key) or 0.0))[:SHOWN_OPERATORS]
    bars = [
        Bar(str(each["name"]).removeprefix("aten::").rpartition("#")[2], float(each.get(key) or 0.0), f"{each['calls']:,} calls")
        for each in longest
    ]
    return bar_chart(f"Longest operators, ms on the {place} in the profiled steps", bars) if bars and bars[0].value > 0 else ""
