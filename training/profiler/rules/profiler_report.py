"""ProfilerReport: all other rules, and the page that shows their results.

Runs in training jobs after the training; `training.profiler.analyse` writes the files.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from training.profiler.metrics import Metrics
from training.profiler.rules.batch_size import BatchSize
from training.profiler.rules.cpu_bottleneck import CPUBottleneck
from training.profiler.rules.dataloader import Dataloader
from training.profiler.rules.gpu_memory_increase import GPUMemoryIncrease
from training.profiler.rules.io_bottleneck import IOBottleneck
from training.profiler.rules.load_balancing import LoadBalancing
from training.profiler.rules.low_gpu_utilization import LowGPUUtilization
from training.profiler.rules.max_initialization_time import MaxInitializationTime
from training.profiler.rules.overall_framework_metrics import OverallFrameworkMetrics
from training.profiler.rules.overall_system_usage import OverallSystemUsage
from training.profiler.rules.profiler_rule import UNRECORDED, Finding, ParameterError, ProfilerRule
from training.profiler.rules.step_outlier import StepOutlier

RULES: dict[str, type[ProfilerRule]] = {
    rule.__name__: rule
    for rule in (
        BatchSize,
        CPUBottleneck,
        IOBottleneck,
        LowGPUUtilization,
        GPUMemoryIncrease,
        LoadBalancing,
        MaxInitializationTime,
        StepOutlier,
        Dataloader,
        OverallSystemUsage,
        OverallFrameworkMetrics,
    )
}
"""Name -> rule, without ProfilerReport."""


@dataclass(frozen=True)
class ProfilerReport:
    """All rules with their parameters; those of a rule are given as `<Rule>_<parameter>`."""

    rules: Mapping[str, ProfilerRule]

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, str]) -> "ProfilerReport":
        """Return the report with these parameters, strings as the API has them.

        Raises:
            ParameterError: a rule or parameter is unknown.
        """
        given: dict[str, dict[str, str]] = {name: {} for name in RULES}
        for name, value in parameters.items():
            rule, _, parameter = name.partition("_")
            if name in ("rule_to_invoke", "scan_interval_us", "action_json"):
                continue
            if rule not in given or not parameter:
                raise ParameterError(f"ProfilerReport has no parameter {name}; it has <Rule>_<parameter>, of the rules {', '.join(RULES)}")
            given[rule][parameter] = value
        return cls({name: rule.from_parameters(given[name]) for name, rule in RULES.items()})

    def judge(self, metrics: Metrics) -> dict[str, Finding]:
        """Return the result of each rule."""
        return {name: rule.judge(metrics) for name, rule in self.rules.items()}


def summary(findings: Mapping[str, Finding]) -> Finding:
    """Return the report's own verdict: met if a rule is."""
    met = [name for name, finding in findings.items() if finding.triggered]
    unjudged = [name for name, finding in findings.items() if finding.unjudged]
    said = f"{len(findings)} rules judged the job: {', '.join(met) if met else 'none'} found an issue"
    if unjudged:
        said += f"; not judged: {', '.join(unjudged)}"
    nothing = not met and len(unjudged) == len(findings) and bool(findings)
    points = max((finding.datapoints for finding in findings.values()), default=0)
    return Finding(
        said,
        points,
        len(met),
        len(met),
        advice=UNRECORDED if nothing else "Read profiler-report.html: it begins with what to change." if met else "",
        evidence=[row for name in met for row in findings[name].evidence][:10],
        unjudged=nothing,
    )
