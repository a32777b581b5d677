"""The functions' log: one JSON line for each thing that happened, which CloudWatch Logs Insights reads field by field.

Runs in AWS Lambda, inside every function. `execution` is the execution's run, the same in the logs of all functions that it calls; a
question such as "what happened to this one?" is then `filter execution = "…"` over all groups. What a client sent, what a model answered
and whatever opens a door stay out: facts are names, counts and sentences, given one by one, never a whole event.
"""

import json

MOST_CHARACTERS = 1000
"""Of one text: enough for a sentence of any service."""

Fact = str | int | float | bool | None | list[str]


def log(event: str, *, execution: str = "", **facts: Fact) -> None:
    """Prints the line; `event` says what happened, in one word that is always the same, such as `EndpointWoken`."""
    line = {"event": event, "execution": execution, **facts}
    print(json.dumps({name: shortened(value) for name, value in line.items()}), flush=True)


def shortened(value: Fact) -> Fact:
    """A text that is not too long to be read; anything else as it is."""
    if isinstance(value, list):
        return [each[:MOST_CHARACTERS] for each in value[:100]]
    return value[:MOST_CHARACTERS] if isinstance(value, str) else value
