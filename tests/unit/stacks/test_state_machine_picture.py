"""The picture of the state machine: drawn from the definition as it is, with every state in one group. Run: `make test`."""

import re
from pathlib import Path

import pytest

from stacks.state_machine.definition import definition
from stacks.state_machine.picture import PICTURE, draw_picture, find_arrows, group_states

PAGE = Path(PICTURE).with_name("architecture.md")


def test_the_picture_is_that_of_the_definition() -> None:
    """`python -m stacks.state_machine.picture` draws it again."""
    assert PICTURE.read_text(encoding="utf-8") == draw_picture()


@pytest.mark.parametrize("change", [{"Forgotten": {"Type": "Pass", "End": True}}, {}])
def test_a_state_without_a_group_and_a_group_without_its_state_are_refused(change: dict[str, dict[str, object]]) -> None:
    states = definition()["States"] | change
    if not change:
        del states["VerifyEndpoint"]
    with pytest.raises(ValueError, match="Forgotten" if change else "VerifyEndpoint"):
        group_states(states)


def test_a_transition_between_groups_is_an_arrow() -> None:
    states = definition()["States"]
    states["PublishReport"]["Catch"][0]["Next"] = "LookBeforeUndo"
    assert set(find_arrows(states)) - set(find_arrows(definition()["States"])) == {("Finish", "Undo")}


def test_the_states_of_the_page_exist() -> None:
    rows = re.findall(r"^\| ([A-Z]\w+(?:, [A-Z]\w+)*) \|", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    named = {state for row in rows for state in row.split(", ")}
    assert len(named) > 40
    assert named <= set(definition()["States"])
