"""How a setting is declared, once: its default, what it takes, and a docstring below it. All else derives from that.

Runs anywhere, standard library only. `whole`, `number`, `yes_no`, `choice`, `text` and `several` declare a field of a frozen dataclass:

    @dataclass(frozen=True)
    class Tuning:
        max_jobs: int = whole(12, 1, 750)

    kind_of(Tuning, "max_jobs").take(4)     # 4; of 0: UnfitValue(" must be a whole number from 1 to 750, got 0")

`Kind.take` reads a JSON value, `take_text` a command line; `schema` is JSON Schema, `cell` what a table of the documentation shows.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

Schema = dict[str, Any]


class UnfitValue(ValueError):  # noqa: N818 - it becomes the refusal of the room that reads the field
    """A field does not take a value; the text continues the field's name: ` must be …, got …`."""


@dataclass(frozen=True)
class Kind:
    """What a field takes."""

    schema: Schema
    allowed: str
    """Continues "must be": `a whole number from 1 to 750`."""
    cell: str
    """The same in a table of the documentation: `1 to 750`."""
    accepts: Callable[[Any], bool]
    convert: Callable[[Any], Any]
    """JSON value -> the value that the field holds."""
    parse: Callable[[str], Any] = str
    """Text of a command line -> JSON value."""

    def take(self, value: Any) -> Any:
        """Return what the field holds; raise UnfitValue."""
        if not self.accepts(value):
            raise UnfitValue(f" must be {self.allowed}, got {shown(value)}")
        return self.convert(value)

    def take_text(self, written: str) -> Any:
        """Read the value of a hyperparameter; tuned categorical values carry JSON's quotes."""
        bare = written.strip().strip('"')
        try:
            value = self.parse(bare)
        except ValueError:
            value = bare
        return self.take(value)


@dataclass(frozen=True)
class ListKind(Kind):
    """A list of distinct values."""

    item: Kind = field(kw_only=True)

    def take(self, value: Any) -> Any:
        """Return a tuple; an unfit item is named by its position."""
        if isinstance(value, list | tuple):
            for position, each in enumerate(value):
                try:
                    self.item.take(each)
                except UnfitValue as unfit:
                    raise UnfitValue(f"[{position}]{unfit}") from None
        return super().take(value)


def whole(default: int | None, low: int, high: int, *, step: int = 1, optional: bool = False, also: str = "") -> Any:
    """Declare a whole number from `low` to `high`, in steps; 20.0 is 20, a boolean is refused."""
    values = [str(each) for each in range(low, high + 1, step)] if step > 1 else []
    kind = Kind(
        schema={"type": "integer", "minimum": low, "maximum": high, **({"multipleOf": step} if step > 1 else {})},
        allowed=f"one of {', '.join(values)}" if values else f"a whole number from {low} to {high}",
        cell=", ".join(values) or f"{low} to {high}",
        accepts=lambda value: is_whole(value) and low <= value <= high and value % step == 0,
        convert=int,
        parse=int,
    )
    return declare(default, or_null(kind) if optional else kind, also)


def number(default: float | None, low: float, high: float, *, above: bool = False, optional: bool = False, also: str = "") -> Any:
    """Declare a finite number from `low`, or `above` it, to `high`."""
    kind = number_kind(low, high, above=above)
    return declare(default, or_null(kind) if optional else kind, also)


def number_kind(low: float, high: float, *, above: bool = False) -> Kind:
    """A finite number from `low`, or `above` it, to `high`."""
    limits = f"above {low:g} and at most {high:,.0f}" if above else f"from {low:g} to {high:g}"
    return Kind(
        schema={"type": "number", "exclusiveMinimum" if above else "minimum": low, "maximum": high},
        allowed=f"a number {limits}",
        cell=limits.removeprefix("from "),
        accepts=lambda value: is_number(value) and low <= value <= high and not (above and value == low),
        convert=float,
        parse=float,
    )


def yes_no(default: bool, *, also: str = "") -> Any:
    """Declare true or false."""
    truth = {"true": True, "false": False}
    kind = Kind(
        schema={"type": "boolean"},
        allowed="true or false",
        cell="`true`, `false`",
        accepts=lambda value: isinstance(value, bool),
        convert=bool,
        parse=lambda written: truth.get(written.lower(), written),
    )
    return declare(default, kind, also)


def choice(allowed: Sequence[str], *, also: str = "") -> Any:
    """Declare one of these words; the first is the default."""
    return declare(allowed[0], word_kind(allowed), also)


def word_kind(allowed: Sequence[str]) -> Kind:
    """One of these words."""
    return Kind(
        schema={"enum": list(allowed)},
        allowed=f"one of {', '.join(allowed)}",
        cell=", ".join(f"`{each}`" for each in allowed),
        accepts=lambda value: isinstance(value, str) and value in allowed,
        convert=str,
    )


def text(default: str, cell: str) -> Any:
    """Declare a string."""
    return declare(default, Kind({"type": "string"}, "a string", cell, lambda value: isinstance(value, str), str))


def several(
    default: tuple[Any, ...], item: Kind, *, most: int, such_as: str, least: int = 0, ascending: bool = False, also: str = ""
) -> Any:
    """Declare a list of `least` to `most` distinct values; `such_as` is an example for the error."""
    count = f"{least} to {most}" if least else f"at most {most}"
    kind = ListKind(
        schema={"type": "array", "items": item.schema, **({"minItems": least} if least else {}), "maxItems": most, "uniqueItems": True},
        allowed=f"a list of {count} values, each once, such as {such_as}",
        cell=f"{count} distinct values, each {item.cell}",
        accepts=lambda value: isinstance(value, list | tuple) and least <= len(value) <= most and len(set(value)) == len(value),
        convert=lambda value: tuple(sorted(map(item.convert, value)) if ascending else map(item.convert, value)),
        item=item,
    )
    return declare(default, kind, also)


def declare(default: Any, kind: Kind, also: str = "") -> Any:
    """Declare a field; `also` says in the documentation's table what other fields demand of it."""
    return field(default=default, metadata={"kind": kind, "also": also})


def kind_of(shape: type, name: str) -> Kind:
    """Return what a field takes."""
    kind: Kind = next(each.metadata["kind"] for each in fields(shape) if each.name == name)
    return kind


def or_null(kind: Kind) -> Kind:
    """The same, or null."""
    return replace(
        kind,
        schema={**kind.schema, "type": [kind.schema["type"], "null"]},
        allowed=f"null or {kind.allowed}",
        cell=f"`null`, or {kind.cell}",
        accepts=lambda value: value is None or kind.accepts(value),
        convert=lambda value: None if value is None else kind.convert(value),
    )


def is_number(value: object) -> bool:
    """Whether this is a finite number, not a boolean. A whole number may be too large for a float."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool)


def is_whole(value: object) -> bool:
    """Whether this is a whole number; JSON does not distinguish 20 from 20.0."""
    return is_number(value) and value == int(value)  # type: ignore[call-overload]


def shown(value: object) -> str:
    """Return the value as an error quotes it: short, with its quotes if it is a string."""
    written = repr(value)
    return written if len(written) <= 120 else f"{written[:117]}..."
