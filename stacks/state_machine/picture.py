"""docs/state-machine.svg: the state machine in groups of states, drawn from its definition.

Runs on a developer's machine: `python -m stacks.state_machine.picture`. A state that is in none of the groups is an error, and a test fails
when the picture is older than the definition. Arrows are the definition's own transitions (Next, Choices, Default, Catch) between groups.
"""

import textwrap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path

from stacks.state_machine.definition import definition
from stacks.state_machine.language import State

PICTURE = Path(__file__).resolve().parents[2] / "docs" / "state-machine.svg"

GROUPS = {
    "Prepare": "PrepareExecution IsDatasetPrepared PrepareDataset",
    "Tune": "TuneHyperparameters HasBestTrainingJob NoBestTrainingJob FindFailedTrainingJob",
    "Train": """IsDebuggerManaged TrainModel TrainModelManaged IsTrainingStarted WaitForTraining WaitForLongTraining DescribeTraining
        IsTrainingDone WaitForRules IsTrainingCompleted RulesNotSeen TrainingNotCompleted TrainingTakesTooLong""",
    "Start a job again": """IsMachineMissing TakeNextPreparationType TakeNextTrainingType MayJobBeLost StopLostJob IsLostJobStopped
        WaitAfterLostJob StartJobAgain""",
    "Assess": "IsRedriven StopOldJobs AssessModel",
    "Register": """RegisterModel ChooseDeployment DeploymentNotAsked AskForApproval WaitForApproval DescribeModelPackage IsModelApproved
        NotApproved""",
    "Deploy": """CreateModel CreateEndpointConfig DescribeEndpoint IsEndpointAbsent ChooseEndpointAction RemoveFailedEndpoint WaitForTurn
        EndpointStaysBusy EndpointNotServerless CreateEndpoint UpdateEndpoint UpdateServerlessEndpoint IsEndpointTaken WasEndpointAsked
        ReleaseScaling WaitForEndpoint CheckEndpoint IsEndpointInService EndpointNotInService VerifyEndpoint IsEndpointVerified
        EndpointNotVerified RecordDeployment PruneModels""",
    "Undo": """LookBeforeUndo IsUndoRefused ChooseUndo WaitForUndo RemoveEndpoint RestoreEndpoint ReleaseScalingToUndo EndpointRestored
        EndpointRemains""",
    "Finish": "SumUp PublishReport NotifyDone IsDeployed ExecutionDone NotDeployed",
    "Failure": """CleanUp IsAnythingSpent PublishFailure NotifyFailed ExecutionFailed FailedForGood ResumeExecution WhereToResume""",
}
"""Title -> states. Every state is in exactly one group."""

MAIN_COLUMN = ("Prepare", "Tune", "Train", "Assess", "Register", "Deploy", "Finish")
LEFT, MIDDLE, RIGHT, FAR_RIGHT = 20, 260, 660, 870
TOP, LINE, GAP, PADDING = 36, 17, 30, 12
LABELS = {("Prepare", "Failure"): "any failure", ("Failure", "Prepare"): "redrive"}
COLOURS = {"Failure": "#fdecea", "Undo": "#fdecea", "Start a job again": "#fff6dd", "Finish": "#e8f5e9"}


@dataclass(frozen=True)
class Box:
    """A group's place and its lines of text, without the title."""

    x: int
    y: int
    width: int
    height: int
    lines: tuple[str, ...]


def next_states(state: State) -> Iterator[str]:
    """Every state that may follow."""
    for rule in (state, *state.get("Choices", ()), *state.get("Catch", ())):
        yield from (rule[key] for key in ("Next", "Default") if key in rule)


def group_states(states: dict[str, State]) -> dict[str, str]:
    """State -> group; refuses a state without a group, one in two groups, and a name that is not a state."""
    listed = [(state, group) for group, names in GROUPS.items() for state in names.split()]
    wrong = Counter(states.keys())
    wrong.subtract(state for state, _ in listed)
    if names := sorted(state for state, missing in wrong.items() if missing):
        raise ValueError(f"GROUPS in {__name__} must name every state exactly once; add, remove or move there: {', '.join(names)}")
    return dict(listed)


def find_arrows(states: dict[str, State]) -> list[tuple[str, str]]:
    """Pairs of different groups with a transition from the first to the second, in the order of the groups."""
    groups = group_states(states)
    pairs = {(groups[name], groups[to]) for name, state in states.items() for to in next_states(state)}
    order = list(GROUPS)
    return sorted((pair for pair in pairs if pair[0] != pair[1]), key=lambda pair: (order.index(pair[0]), order.index(pair[1])))


def describe_group(group: str, states: dict[str, State], width: int) -> tuple[str, ...]:
    """The group's tasks and ends by name, its other states by their number."""
    names = GROUPS[group].split()
    main = [name for name in names if states[name]["Type"] in ("Task", "Fail") or "End" in states[name]]
    more = [f"and {len(names) - len(main)} more"] if len(names) > len(main) else []
    return tuple(textwrap.wrap(", ".join([*main, *more]), width=int(width / 6.4), break_long_words=False))


def place_boxes(states: dict[str, State]) -> dict[str, Box]:
    """The main way in one column from top to bottom, what happens beside it to the left and right."""
    boxes, y = {}, TOP

    def place(group: str, x: int, y: int, width: int, bottom: int = 0) -> Box:
        lines = describe_group(group, states, width - 2 * PADDING)
        boxes[group] = Box(x, y, width, max((len(lines) + 1) * LINE + 2 * PADDING, bottom - y), lines)
        return boxes[group]

    for group in MAIN_COLUMN:
        box = place(group, MIDDLE, y, 330)
        y = box.y + box.height + GAP
    last_job, deploy = boxes["Train"], boxes["Deploy"]
    place("Start a job again", LEFT, TOP, 180, last_job.y + last_job.height)
    undo = place("Undo", RIGHT, deploy.y + 50, 160)
    place("Failure", FAR_RIGHT, TOP, 190, undo.y + undo.height)
    return boxes


def route_arrow(start: Box, end: Box, back: bool) -> str:
    """Down within a column or around what stands between, over the top of the main column, or straight across; back a little lower."""
    if start.x == end.x:
        if end.y - start.y - start.height == GAP:
            return f"M{start.x + start.width // 2} {start.y + start.height}V{end.y}"
        return f"M{start.x} {start.y + start.height - 20}H{start.x - 30}V{end.y + 20}H{end.x}"
    if (start.x, end.x) == (LEFT, FAR_RIGHT):
        return f"M{start.x + start.width // 2} {start.y}V{start.y - 20}H{end.x + end.width // 2}V{end.y}"
    y = max(start.y, end.y) + (38 if back else 20)
    return f"M{start.x + start.width} {y}H{end.x}" if start.x < end.x else f"M{start.x} {y}H{end.x + end.width}"


def draw_picture() -> str:
    """The picture as SVG text."""
    states = definition()["States"]
    boxes = place_boxes(states)
    width, height = FAR_RIGHT + 190 + 20, max(box.y + box.height for box in boxes.values()) + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="Helvetica, Arial, sans-serif">',
        f"<title>The state machine: {len(states)} states in {len(GROUPS)} groups</title>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0L8 4L0 8z" fill="#455a64"/></marker></defs>',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for source, target in find_arrows(states):
        back = source in ("Failure", "Start a job again") and target in MAIN_COLUMN
        dash = ' stroke-dasharray="5 4"' if source == "Failure" else ""
        path = route_arrow(boxes[source], boxes[target], back)
        parts.append(f'<path d="{path}" fill="none" stroke="#455a64"{dash} marker-end="url(#tip)"/>')
        if label := LABELS.get((source, target)):
            parts.append(draw_text(label, MIDDLE + 400, TOP + (52 if back else 14)))
    for group, box in boxes.items():
        place = f'x="{box.x}" y="{box.y}" width="{box.width}" height="{box.height}"'
        parts.append(f'<rect {place} rx="6" fill="{COLOURS.get(group, "#e8f0fe")}" stroke="#455a64"/>')
        parts.append(draw_text(group, box.x + PADDING, box.y + PADDING + 12, 'font-size="14" font-weight="bold"'))
        parts += [draw_text(line, box.x + PADDING, box.y + PADDING + 14 + LINE * at) for at, line in enumerate(box.lines, start=1)]
    return "\n".join([*parts, "</svg>", ""])


def draw_text(text: str, x: int, y: int, font: str = 'font-size="12"') -> str:
    """One line of text."""
    return f'<text x="{x}" y="{y}" {font} fill="#212121">{escape(text)}</text>'


if __name__ == "__main__":
    PICTURE.write_text(draw_picture(), encoding="utf-8")
