"""The section of the report page on the model: verdict, metrics, calibration, classes, errors.

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
    """Return the result in one paragraph."""
    test, baseline = evaluation["test"], max(evaluation["baselines"].values())
    low, high = test["accuracy_interval"]
    beaten = "more than" if low > baseline else "less than" if high < baseline else "not clearly more or less than"
    return (
        f'<p class="verdict"><b>{percent(test["accuracy"])}</b> of {test["photos"]:,} test photos are classified correctly '
        f"(95&nbsp;% confidence interval: {percent(low)} to {percent(high)}), {beaten} the {percent(baseline)} "
        f"of the better baseline on the same photos. Weights of epoch {best_epoch}.</p>"
    )


def figures(evaluation: Mapping[str, Any], description: Mapping[str, Any]) -> str:
    """Return the metrics of both splits, what they were computed from, and the baselines; `description`: model.json."""
    test, valid = evaluation["test"], evaluation["valid"]
    rows = [
        ["photos", test["photos"], valid["photos"]],
        *(
            [name, percent(test[key]), percent(valid[key])]
            for name, key in (("accuracy", "accuracy"), ("top-5 accuracy", "top5_accuracy"), ("macro-F1", "macro_f1"))
        ),
        ["loss per photo", share(test["loss"]), share(valid["loss"])],
        ["loss per photo, calibrated", share(test["calibrated_loss"]), share(valid["calibrated_loss"])],
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
        "so a few photos with close probabilities may be classified differently.</p>"
    )


def calibration(evaluation: Mapping[str, Any]) -> str:
    """Return how well the predicted probabilities of the test photos agree with the accuracy, without and with the temperature."""
    test, temperature = evaluation["test"], evaluation["temperature"]
    charts = (
        reliability_chart(f"{name}: error {percent(test[key]['error'])}", test[key]["bins"])
        for name, key in (("At temperature 1", "uncalibrated"), (f"At temperature {temperature:.2f}", "calibrated"))
    )
    return (
        "<h2>Calibration</h2><p>Bars: accuracy by predicted probability; on the dashed line both are equal. "
        f"The temperature of {temperature:.2f} was fitted on the validation photos; the endpoint uses it.</p>{''.join(charts)}"
    )


def classes(evaluation: Mapping[str, Any]) -> str:
    """Return the metrics of each class, the lowest F1 first, and the most confused classes."""
    ordered = sorted(evaluation["per_class"], key=lambda row: 2.0 if row["f1"] is None else row["f1"])
    rows = ([row["name"], row["photos"], *(share(row[key]) for key in ("precision", "recall", "f1"))] for row in ordered)
    confused = [[row["shown"], row["called"], row["photos"]] for row in evaluation["most_confused"]]
    pairs = table(("label", "predicted as", "photos"), confused) if confused else "<p>None: every test photo was classified correctly.</p>"
    return (
        f"<h2>Test photos by class, lowest F1 first</h2>{table(('class', 'photos', 'precision', 'recall', 'F1'), rows)}"
        f"<h2>Confusion matrix</h2>{_matrix(evaluation)}<h2>Most confused</h2>{pairs}"
    )


def _matrix(evaluation: Mapping[str, Any]) -> str:
    names = evaluation["classes"]
    if len(names) > MAX_DRAWN:
        return f"<p>{len(names)} classes are too many to draw; see the matrix in evaluation.json.</p>"
    chart = confusion_chart(evaluation["confusion_matrix"], names)
    return f"<p>Rows: label. Columns: predicted as.</p>{chart}"


def worst_errors(errors: Sequence[Mapping[str, Any]], pictures: Sequence[bytes]) -> str:
    """Return the most confidently misclassified test photos, with their pictures if there are any."""
    if not errors:
        return ""
    shown = pictures or [b""] * len(errors)
    return (
        "<h2>Worst errors</h2><p>The most confidently misclassified test photos: check their labels first.</p>"
        f'<div class="gallery">{"".join(map(_worst_error, errors, shown))}</div>'
    )


def _worst_error(error: Mapping[str, Any], picture: bytes) -> str:
    image = f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(picture).decode()}">' if picture else ""
    said = (
        f"<b>{escape(error['shown'])}</b> {percent(error['shown_probability'])}, "
        f"predicted as <b>{escape(error['called'])}</b> {percent(error['probability'])}"
    )
    return f"<figure>{image}<figcaption>{said}<br><small>{escape(error['file'])}</small></figcaption></figure>"
