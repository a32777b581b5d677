"""The section of the report page on the data set: counts, balance, files left out, doubtful labels.

Runs in the final training job. Takes what report/data.json holds: the summary.json of the prepared data set, see training/data/summary.py.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from training.report.tables import listed, table


def photos(data: Mapping[str, Any]) -> str:
    """Return counts, warnings, unused files, duplicates and doubtful labels."""
    splits = list(data["photos"])
    totals = ["all classes", *(sum(data["photos"][split].values()) for split in splits)]
    rows = [totals, *([name, *(data["photos"][split][name] for split in splits)] for name in data["classes"])]
    warnings = "".join(f"<li>{escape(sentence)}</li>" for sentence in data.get("warnings", ()))
    return (
        f"<h2>Photos</h2>{_sentences(data)}{f'<ul>{warnings}</ul>' if warnings else ''}{table(('class', *splits), rows)}"
        f"{_files('Files left out', data['left_out'], 'None: all files are readable photos.')}"
        f"{_files('Photos excluded from every split', data.get('excluded', ()), 'None.')}{_duplicates(data)}"
    )


def _sentences(data: Mapping[str, Any]) -> str:
    """Return the balance of the classes, the origin of the splits and the sizes of the photos."""
    sentences = []
    if balance := data.get("balance"):
        biggest, smallest = balance["biggest"], balance["smallest"]
        sentences.append(
            f"Every class has {biggest['photos']:,} training photos."
            if biggest["photos"] == smallest["photos"]
            else f"The largest class, {biggest['class']}, has {biggest['photos']:,} training photos; the smallest, {smallest['class']}, "
            f"has {smallest['photos']:,}: a ratio of {balance['ratio']:.1f}."
        )
    if drawn := data.get("drawn_splits"):
        sentences.append(f"There was no folder named {' or '.join(drawn)}: these splits were drawn with seed {data['seed']}.")
    if sizes := data.get("sizes"):
        (narrow, wide), (low, high) = sizes["width"], sizes["height"]
        sentences.append(f"Photos are {narrow:,} to {wide:,} pixels wide and {low:,} to {high:,} high, as decoded.")
    return f"<p>{escape(' '.join(sentences))}</p>" if sentences else ""


def _files(title: str, files: Sequence[Mapping[str, str]], none: str) -> str:
    rows = [[item["file"], item["reason"]] for item in files]
    return f"<h2>{title}</h2>{listed(('file', 'reason'), rows, 'data.json') if rows else f'<p>{none}</p>'}"


def _duplicates(data: Mapping[str, Any]) -> str:
    """Return pairs of photos that are the same or nearly the same; those with two labels first, because one label is wrong."""
    found = data.get("duplicates")
    if not found:
        return ""
    doubtful = [[pair["a"], pair["classes"][0], pair["b"], pair["classes"][1], pair["distance"]] for pair in found["suspicious"]]
    exact = [[len(names), ", ".join(names)] for names in found["exact"]]
    near = [[pair["a"], pair["b"], pair["distance"]] for pair in found["near"]]
    labels = listed(("photo", "its class", "photo", "its class", "distance"), doubtful, "data.json") if doubtful else "<p>None.</p>"
    copies = listed(("copies", "files"), exact, "data.json") if exact else "<p>None.</p>"
    alike = listed(("photo", "photo", "distance"), near, "data.json") if near else "<p>None.</p>"
    pairs = found.get("near_pairs", len(near))
    counted = f"<p>Pairs: {pairs:,}. The distance is the number of bits in which their perceptual hashes differ.</p>" if near else ""
    return f"<h2>One photo under two labels</h2>{labels}<h2>Exact copies</h2>{copies}<h2>Near duplicates</h2>{counted}{alike}"
