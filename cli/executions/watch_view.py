"""The view of a watched execution: a live table on a terminal, one line per change elsewhere. Used by `whippet watch`."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cli.executions.execution import FOLLOWING, PREPARING, TRAINING, TRAINING_MANAGED, TUNING, Activity, Execution, State, TrainingJob

MARKS = {
    "waiting": ("○", "dim"),
    "running": ("●", "cyan"),
    "succeeded": ("✓", "green"),
    "failed": ("✗", "bold red"),
    "skipped": ("·", "dim"),
    "held": ("▲", "yellow"),
}
TALKING = (PREPARING, TRAINING, TRAINING_MANAGED, *FOLLOWING)
"""States that are shown with the progress of their job."""
LOOPING = (*FOLLOWING, "WaitForApproval", "DescribeModelPackage", "WaitForTurn", "WaitForEndpoint", "CheckEndpoint")
"""States that an execution enters repeatedly while it waits, for an approval possibly for days."""
WORDS = {"InProgress": "running", "Completed": "done"}
"""Short names for statuses of training jobs; others stay."""
HELD = "the endpoint stays as it is"
"""The text of a state that ends an execution without a deployment."""
DURATION_WIDTH = len("23 h 59 min")
"""Characters of a duration in a column."""
MAX_TRIALS = 12
"""Maximum number of training jobs shown: more would not fit on the screen."""


def render_execution(execution: Execution) -> RenderableType:
    """Render the states in order, with the training jobs of the tuning job and the progress of other jobs."""
    rows: list[RenderableType] = [_title(execution), Text()]
    for state in execution.states:
        rows.append(_state_line(state))
        if state.name == TUNING and execution.trials:
            rows.append(Padding(_trials(execution), (0, 0, 0, 4)))
        if state.name in TALKING and execution.activity and state.status == "running":
            rows.append(Text(f"    {format_activity(execution.activity)}", style="dim"))
    return Group(*rows)


def format_duration(seconds: float) -> str:
    """Format a duration as `0.4 s`, `12 s`, `3:05` (minutes and seconds), or `3 h 05 min` from an hour on."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{int(seconds)} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d}" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def format_activity(activity: Activity) -> str:
    """Format a job's progress: photos read, or epochs with their metrics."""
    if not activity.epoch and not activity.metrics:
        return activity.line or "starting"
    names = {"train:loss": "train loss", "train:accuracy": "accuracy", "valid:loss": "valid loss", "valid:accuracy": "accuracy"}
    figures = [f"{label} {activity.metrics[name]:.3f}" for name, label in names.items() if name in activity.metrics]
    return "   ".join([f"epoch {activity.epoch}", *figures])


class ChangeLog:
    """Turns moments of an execution into lines: one when a state or a training job begins or ends."""

    def __init__(self) -> None:
        """Start without lines."""
        self._said: dict[str, str] = {}

    def lines(self, execution: Execution) -> Iterator[str]:
        """What changed since the last call."""
        entered = [state.name for state in execution.states if state.status != "waiting"]
        looping = execution.status == "RUNNING" and bool(entered) and entered[-1] in LOOPING
        for state in execution.states:
            if looping and state.name in LOOPING and state.name in self._said:
                continue  # it will be entered again in a moment
            trials = [
                self._trial_line(trial) for trial in execution.trials if state.name == TUNING and self._is_new(trial.name, trial.status)
            ]
            begun = [self._state_line(state)] if state.status != "waiting" and self._is_new(state.name, state.status) else []
            yield from [*begun, *trials] if state.status == "running" else [*trials, *begun]
        job = execution.training or execution.processing
        if job and execution.activity and (execution.activity.epoch or execution.activity.line):
            line = format_activity(execution.activity)
            if self._is_new(job.name, line):
                yield f"    {line}"

    def _is_new(self, name: str, status: str) -> bool:
        was, self._said[name] = self._said.get(name), status
        return was != status

    def _state_line(self, state: State) -> str:
        if state.status == "held":
            return f"{MARKS['held'][0]} {state.name}: {HELD}"
        return f"{MARKS[state.status][0]} {state.name} {state.status}" + _after(state.seconds, state.status)

    def _trial_line(self, trial: TrainingJob) -> str:
        figures = [f"lr {trial.lr:.4g}" if trial.lr else "", f"batch size {trial.batch_size}" if trial.batch_size else ""]
        figures += [
            f"validation loss {trial.objective:.4f}" if trial.objective is not None else "",
            WORDS.get(trial.status, trial.status.lower()),
        ]
        return "    " + "  ".join(figure for figure in figures if figure) + _after(trial.seconds, trial.status)


def _after(seconds: float, status: str) -> str:
    return "" if status in ("running", "skipped", "InProgress") else f" after {format_duration(seconds)}"


def _title(execution: Execution) -> Text:
    style = {"RUNNING": "cyan", "SUCCEEDED": "green"}.get(execution.status, "red")
    name, spent = execution.arn.rsplit(":", 1)[-1], format_duration(execution.seconds)
    return Text.assemble(("  Execution ", "bold"), (name, "dim"), "  ", (execution.status.lower(), style), (f"  {spent}", "bold"))


def _state_line(state: State) -> Text:
    mark, style = MARKS[state.status]
    name_style = "dim" if state.status in ("waiting", "skipped") else "bold" if state.status == "running" else ""
    spent = {"waiting": "", "skipped": "skipped", "held": f"  {HELD}"}.get(state.status, format_duration(state.seconds))
    return Text.assemble("  ", (mark, style), " ", (f"{state.name:<24}", name_style), (f"{spent:>{DURATION_WIDTH}}", "dim"))


def _trials(execution: Execution) -> Table:
    table = Table(box=None, padding=(0, 3, 0, 0), header_style="dim", show_edge=False)
    for heading, side in (
        ("learning rate", "right"),
        ("batch size", "right"),
        ("validation loss", "right"),
        ("", "left"),
        ("time", "right"),
    ):
        table.add_column(heading, justify="right" if side == "right" else "left")
    for trial in execution.trials[-MAX_TRIALS:]:
        best = trial is execution.best
        table.add_row(*_trial_cells(trial, best), style="green" if best else "")
    if len(execution.trials) > MAX_TRIALS:
        table.caption = f"and {len(execution.trials) - MAX_TRIALS} before"
    return table


def _trial_cells(trial: TrainingJob, best: bool) -> tuple[str, ...]:
    status = "best" if best else WORDS.get(trial.status, trial.status.lower())
    return (
        f"{trial.lr:.5f}" if trial.lr is not None else "",
        str(trial.batch_size or ""),
        f"{trial.objective:.4f}" if trial.objective is not None else "",
        status,
        format_duration(trial.seconds),
    )
