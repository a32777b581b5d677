"""The part of the report page that judges the model: verdict, figures, calibration, classes, errors.

Runs in the final training job. Takes what report/evaluation.json holds.
"""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from training.report.svg import MAX_DRAWN, confusion_chart, reliability_chart
from training.report.tables import percent, share, table

_BASELINES = {
    "biggest_class": "always the most frequent class",
    "nearest_centroid": "the nearest mean feature",
}


def verdict(evaluation: Mapping[str, Any], best_epoch: int) -> str:
    """Return what somebody reads who reads nothing else."""
    test, baseline = evaluation["test"], max(evaluation["baselines"].values())
    low, high = test["accuracy_interval"]
    beaten = "more than" if low > baseline else "less than" if high < baseline else "not clearly more or less than"
    return (
        f'<p class="verdict"><b>{percent(test["accuracy"])}</b> of {test["photos"]:,} test photos are named rightly: '
        f"of all photos like them, between {percent(low)} and {percent(high)} (95&nbsp;% interval), {beaten} the {percent(baseline)} "
        f"that the better baseline reaches on the same photos. Weights of epoch {best_epoch}.</p>"
    )


def figures(evaluation: Mapping[str, Any], description: Mapping[str, Any]) -> str:
    """Return the figures of both splits, what they were computed from, and what simpler answers reach; `description`: model.json."""
    test, valid = evaluation["test"], evaluation["valid"]
    rows = [
        ["photos", test["photos"], valid["photos"]],
        *(
            [name, percent(test[key]), percent(valid[key])]
            for name, key in (("accuracy", "accuracy"), ("top-5 accuracy", "top5_accuracy"), ("macro-F1", "macro_f1"))
        ),
        ["loss a photo", share(test["loss"]), share(valid["loss"])],
        ["loss a photo, calibrated", share(test["calibrated_loss"]), share(valid["calibrated_loss"])],
        ["calibration error", percent(test["uncalibrated"]["error"]), percent(valid["uncalibrated"]["error"])],
        ["calibration error, calibrated", percent(test["calibrated"]["error"]), percent(valid["calibrated"]["error"])],
    ]
    baselines = [[_BASELINES.get(name, name), percent(value)] for name, value in evaluation["baselines"].items()]
    return (
        f'<div class="side"><section><h2>Figures</h2>{table(("", "test", "validation"), rows)}</section>'
        f"<section><h2>Baselines</h2>{table(('without training', 'test accuracy'), baselines)}</section></div>{_precision(description)}"
    )


def _precision(description: Mapping[str, Any]) -> str:
    if description["hyperparameters"].get("trainable") != "head":
        return ""
    processor = description.get("data_set", {}).get("processor", "unknown")
    return (
        f"<p>Computed from the data set's features, which are float16 (made by: {escape(processor)}); the endpoint computes in float32, "
        "so a photo on the edge may be named otherwise.</p>"
    )


def calibration(evaluation: Mapping[str, Any]) -> str:
    """Return how well the test photos' probabilities agree with how often they are right, before and after the temperature."""
    test, temperature = evaluation["test"], evaluation["temperature"]
    charts = (
        reliability_chart(f"{name}: error {percent(test[key]['error'])}", test[key]["bins"])
        for name, key in (("At temperature 1", "uncalibrated"), (f"At temperature {temperature:.2f}", "calibrated"))
    )
    return (
        "<h2>Calibration</h2><p>Bars: how often the most probable class is right, by its probability; on the line both agree. "
        f"The temperature of {temperature:.2f} was fitted on the validation photos, and the endpoint answers with it.</p>{''.join(charts)}"
    )


def classes(evaluation: Mapping[str, Any]) -> str:
    """Return how well each class is told, the least well told first, and which are taken for which."""
    ordered = sorted(evaluation["per_class"], key=lambda row: 2.0 if row["f1"] is None else row["f1"])
    rows = ([row["name"], row["photos"], *(share(row[key]) for key in ("precision", "recall", "f1"))] for row in ordered)
    confused = [[row["shown"], row["called"], row["photos"]] for row in evaluation["most_confused"]]
    pairs = table(("shows", "was called", "photos"), confused) if confused else "<p>None: every test photo was named rightly.</p>"
    return (
        f"<h2>Test photos by class, lowest F1 first</h2>{table(('class', 'photos', 'precision', 'recall', 'F1'), rows)}"
        f"<h2>Confusion matrix</h2>{_matrix(evaluation)}<h2>Most confused</h2>{pairs}"
    )


def _matrix(evaluation: Mapping[str, Any]) -> str:
    names = evaluation["classes"]
    if len(names) > MAX_DRAWN:
        return f"<p>{len(names)} classes are too many to draw: evaluation.json holds the matrix.</p>"
    chart = confusion_chart(evaluation["confusion_matrix"], names)
    return f"<p>Rows: what the photo shows. Columns: what it was called.</p>{chart}"


def worst_errors(errors: Sequence[Mapping[str, Any]], pictures: Sequence[bytes]) -> str:
    """Return the test photos that the model was surest to name wrongly, as pictures where there are any."""
    if not errors:
        return ""
    shown = pictures or [b""] * len(errors)
    return (
        "<h2>Worst errors</h2><p>The wrongly named test photos that the model was surest of: look here for wrong labels first.</p>"
        f'<div class="gallery">{"".join(map(_worst_error, errors, shown))}</div>'
    )


def _worst_error(error: Mapping[str, Any], picture: bytes) -> str:
    image = f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(picture).decode()}">' if picture else ""
    said = (
        f"<b>{escape(error['shown'])}</b> {percent(error['shown_probability'])}, "
        f"called <b>{escape(error['called'])}</b> {percent(error['probability'])}"
    )
    return f"<figure>{image}<figcaption>{said}<br><small>{escape(error['file'])}</small></figcaption></figure>"
