"""What a report says first: the right sentences for what went wrong, and no noise about a good run. Run: `make test`."""

from typing import Any

import pytest

from tests.fixtures.training.documents import (
    CLASSES,
    GOOD_HISTORY,
    data,
    debug_rules,
    evaluation,
    found,
    history,
    profile,
    profiler_rules,
    spread,
    status,
)
from training.contract.rules import DEBUG_RULES
from training.profiler.advice_table import TABLE
from training.report.insights.rank import MOST, insights
from training.report.insights.rules import LOSS_RULES
from training.report.insights.rules import MEANINGS as RULE_MEANINGS
from training.rule_evaluation.insight import SEVERITIES, Insight

FIT_BY_HEART = history([0.9, 0.6, 0.5, 0.55, 0.6, 0.7, 0.8, 0.9], [0.9, 0.4, 0.2, 0.1, 0.05, 0.02, 0.01, 0.01], (1.0, 0.8))
NOT_LEARNT = history([1.61] * 6, accuracy=(0.2, 0.2))
CHANCE = evaluation(200, 1000, baseline=0.2)


def told(
    rules: list[dict[str, Any]] | None = None,
    profiler: list[dict[str, Any]] | None = None,
    epochs: list[dict[str, Any]] | None = None,
    judged: dict[str, Any] | None = None,
    photos: dict[str, Any] | None = None,
    measured: dict[str, Any] | None = None,
    ended_by: str | None = None,
) -> list[Insight]:
    """The insights of a good run but for the given documents; the best epoch follows from the losses."""
    epochs = GOOD_HISTORY if epochs is None else epochs
    best = min(epochs, key=lambda epoch: epoch["valid_loss"])["epoch"]
    return insights(
        debug_rules() if rules is None else rules,
        profiler_rules() if profiler is None else profiler,
        epochs,
        evaluation() if judged is None else judged,
        data() if photos is None else photos,
        profile() if measured is None else measured,
        best,
        ended_by,
    )


def only(found: list[Insight]) -> Insight:
    """The one insight there is."""
    assert len(found) == 1, found
    return found[0]


def test_a_good_run_says_so_in_one_sentence() -> None:
    insight = only(told())
    assert insight.severity == "good"
    assert insight.what == (
        "This run is sound: 90.0% of 1,000 test photos are classified correctly (best baseline 75.0%), and 13 rules found no issue."
    )
    assert (insight.why, insight.change) == ("", "")


def test_a_good_run_with_a_note_says_first_that_it_is_good() -> None:
    first, note = told(judged=evaluation(40, 50, baseline=0.5))
    assert (first.severity, note.severity) == ("good", "note")
    assert note.what == "50 test photos measure the accuracy only roughly."


def test_nothing_known_is_not_called_good() -> None:
    assert insights([]) == []
    assert only(insights([], [], history([1.0, 0.5, 0.6, 0.7, 0.9, 1.2]), best_epoch=2)).severity == "warning"


def test_a_run_that_no_rule_has_judged_is_not_called_sound() -> None:
    """Another may judge it after the job's end, and keep the model back."""
    assert told([], []) == []


def test_rules_that_had_nothing_to_judge_are_not_counted_as_sound() -> None:
    looked_at_no_gpu = [{**status, "StatusDetails": "nothing to judge: there is no GPU on this machine"} for status in profiler_rules()]
    assert f"{len(debug_rules())} rules found no issue" in only(told(profiler=looked_at_no_gpu)).what


@pytest.mark.parametrize("missing", range(6))
def test_any_document_may_be_missing(missing: int) -> None:
    documents: list[Any] = [debug_rules(), profiler_rules(), GOOD_HISTORY, evaluation(), data(), profile()]
    documents[missing] = type(documents[missing])()
    rules, profiler, epochs, judged, photos, measured = documents
    assert [insight.severity for insight in insights(rules, profiler, epochs, judged, photos, measured, 10)] == ["good"]


# Debugger rules


def test_a_learning_rate_that_is_far_too_high_is_told_once() -> None:
    rules = debug_rules(
        found("LossNotDecreasing", "the condition was met 3 times, first at step 20 (TRAIN): the loss did not fall"),
        found("WeightUpdateRatio", "the condition was met once at step 3 (TRAIN): ratio 41.5 is above 10"),
        found(
            "ExplodingTensor",
            "the condition was met 9 times, first at step 4 (TRAIN): gradient/ResNet_fc.weight has values that are not finite",
            Evidence=[{"mode": "TRAIN", "step": 4, "tensor": "gradient/ResNet_fc.weight", "value": "NaN", "threshold": "finite"}],
            Advice="Lower lr: the gradients of fc overflowed within four steps.",
        ),
    )
    insight = only(told(rules, epochs=history([1.7, 1.65, 1.62])))
    assert insight.severity == "problem"
    assert insight.source == "rule ExplodingTensor and LossNotDecreasing and WeightUpdateRatio, for the same cause"
    assert insight.change.startswith("Lower the learning rate: set tuning.lr"), "what to set, in the execution input's words"
    seen = "the condition was met 9 times, first at step 4 (TRAIN): gradient/ResNet_fc.weight has values that are not finite"
    assert insight.evidence == seen, "what the sentence names is not told again"


def test_a_verdict_without_advice_gets_ours() -> None:
    """The service's own verdicts have none."""
    assert "tuning.lr" in only(told(debug_rules(found("ExplodingTensor", "step 4")))).change


def test_values_that_the_sentence_does_not_name_are_added() -> None:
    row = {"mode": "TRAIN", "step": 12, "tensor": "gradient/ResNet_layer4.2.conv3.weight", "value": 3.25e-9, "threshold": 1e-7}
    insight = told(debug_rules(found("VanishingGradient", "met 4 times", Evidence=[row, row, row])))[1]
    assert insight.evidence == "; ".join(
        ["met 4 times", *["gradient/ResNet_layer4.2.conv3.weight at TRAIN step 12: 3.25e-09 against 1e-07"] * 2]
    )


@pytest.mark.parametrize(("epochs", "judged", "severity"), [(GOOD_HISTORY, evaluation(), "note"), (NOT_LEARNT, CHANCE, "warning")])
def test_small_gradients_matter_less_where_the_model_has_learnt(epochs: Any, judged: Any, severity: str) -> None:
    seen = told(debug_rules(found("VanishingGradient", "met twice")), epochs=epochs, judged=judged)
    assert next(insight.severity for insight in seen if insight.source == "rule VanishingGradient") == severity


def test_a_model_that_learns_nothing_is_a_problem() -> None:
    first, second = told(debug_rules(found("LossNotDecreasing", "met 4 times")), epochs=NOT_LEARNT, judged=CHANCE)
    assert (first.severity, first.what) == ("problem", "The loss does not fall: the model does not learn.")
    assert second.what == "The model is not clearly better than a guess."


def test_a_loss_that_is_at_its_end_is_a_note() -> None:
    seen = told(debug_rules(found("LossNotDecreasing", "met once")))
    assert [(insight.severity, insight.what) for insight in seen[1:]] == [("note", "The loss stopped falling before the training ended.")]


def test_photos_learnt_by_heart_are_told_once_with_the_losses() -> None:
    insight = only(told(debug_rules(found("Overfit", "met 6 times"), found("Overtraining", "met once")), epochs=FIT_BY_HEART))
    assert (insight.severity, insight.what) == ("warning", "After epoch 3 the model overfitted its training photos.")
    assert insight.evidence == "epoch 3: training loss 0.200, validation loss 0.500; epoch 8: 0.010 and 0.900"
    assert "epochs: 3 would have been enough" in insight.change
    assert insight.source == "rule Overfit and rule Overtraining and history.json"


def test_the_losses_tell_it_without_a_rule() -> None:
    assert only(told([], [], FIT_BY_HEART)).what == "After epoch 3 the model overfitted its training photos."
    assert only(insights(debug_rules(found("Overfit", "met 6 times")))).evidence == "met 6 times"


def test_a_gap_without_harm_is_a_note() -> None:
    seen = told(debug_rules(found("Overfit", "met twice")), epochs=history([0.5, 0.4, 0.35, 0.35], [0.4, 0.3, 0.2, 0.2]))
    assert [insight.severity for insight in seen] == ["good", "note"]
    wide = history([0.5, 0.4, 0.35, 0.35], [0.4, 0.1, 0.01, 0.01], (1.0, 0.8))
    by_rule = only(told(debug_rules(found("Overfit", "met twice")), epochs=wide))
    assert (by_rule.severity, by_rule.what) == ("warning", "The model classifies training photos much better than new ones.")
    by_accuracy = told(epochs=wide)[1]
    assert (by_accuracy.severity, by_accuracy.source) == ("note", "history.json")
    assert "100.0% of the training and 80.0% of the validation photos classified correctly" in by_accuracy.evidence


def test_a_first_epoch_that_was_the_best_points_at_the_learning_rate() -> None:
    insight = only(told(epochs=history([0.5, 0.6, 0.7, 0.9])))
    assert insight.what == "Every epoch after the first made the model worse."
    assert "learning rate" in insight.change


def test_epochs_that_would_still_help() -> None:
    losses = [1.0 / number for number in range(1, 11)]
    note = told(epochs=history(losses))[1]
    assert (note.what, note.change) == ("The model was still learning when the training ended.", "Raise epochs, to 20 for example.")
    assert note.evidence == "validation loss 0.125 in epoch 8, 0.100 in epoch 10"
    for other in (
        told(epochs=history(losses), ended_by="rule Overfit"),
        told(debug_rules(found("TensorVariance", "")), epochs=history(losses)),
    ):
        assert all("still learning" not in insight.what for insight in other)


def test_rules_that_could_not_judge_are_told_by_their_reason() -> None:
    rules = [
        status(name, "Error", "InternalError: no space left on the disk", Advice="Free space on the volume.")
        for name in ("Overfit", "ExplodingTensor", "UnchangedTensor")
    ]
    insight = only(told(rules))
    assert (insight.severity, insight.evidence, insight.change) == ("warning", "no space left on the disk", "Free space on the volume.")
    assert insight.what == "3 debugger rules could not judge: Overfit, ExplodingTensor and UnchangedTensor."


def test_a_rule_for_which_there_are_too_few_photos_is_a_note() -> None:
    few = status("ClassImbalance", "Error", "InternalError: no 100 labels: nothing to compare in 20 saved steps")
    assert [insight.severity for insight in told(debug_rules(few))] == ["good", "note"]
    assert only(told([few])).severity == "warning", "nothing at all was judged"


def test_tensors_that_are_missing_are_told_where_no_rule_says_so() -> None:
    full = "no space left on the disk"
    assert only(insights([], history=GOOD_HISTORY, best_epoch=10, problem=full)).evidence == full
    broken = [status("Overfit", "Error", f"InternalError: {full}")]
    assert only(insights(broken, history=GOOD_HISTORY, best_epoch=10, problem=full)).source == "debugger rules"


def test_rules_that_are_still_at_work_are_a_note() -> None:
    seen = told(debug_rules(status("Overfit", "InProgress", "")))
    assert [insight.severity for insight in seen] == ["good", "note"]
    assert "12 rules found no issue" in seen[0].what
    assert seen[1].what == "1 debugger rule had not finished when this report was written: Overfit."


def test_a_rule_of_ones_own_is_told_in_its_words() -> None:
    insight = only(told(debug_rules(found("LogitsTooLarge", "logits of 93 at step 8", Advice="Clip the logits."))))
    assert (insight.what, insight.evidence, insight.change) == (
        "The rule LogitsTooLarge found an issue.",
        "logits of 93 at step 8",
        "Clip the logits.",
    )


def test_a_training_that_a_rule_ended_begins_with_it() -> None:
    rules = debug_rules(found("Overfit", "met once", Advice="Add photos."), found("UnchangedTensor", "met once"))
    first, second = told(rules, ended_by="rule Overfit: RuleEvaluationConditionMet: met once", epochs=FIT_BY_HEART)[:2]
    assert (first.severity, first.evidence, first.change) == ("problem", "rule Overfit: met once", "Add photos.")
    assert second.source == "rule UnchangedTensor"


def test_every_rule_has_a_meaning() -> None:
    assert {*RULE_MEANINGS, *LOSS_RULES} == set(DEBUG_RULES)
    assert {name for meaning in RULE_MEANINGS.values() for name in meaning.explains} <= set(DEBUG_RULES)


# Figures


def test_a_model_below_its_baseline_is_a_problem() -> None:
    assert only(told(judged=evaluation(600, 1000, baseline=0.75))).severity == "problem"
    equal = told(judged=evaluation(900, 1000, baseline=0.905))[1]
    assert (equal.severity, equal.evidence) == ("note", "test accuracy 90.0% (88.0% to 91.7%); best baseline 90.5%")
    assert only(told(judged=evaluation(900, 1000, baseline=0.89))).severity == "good"
    assert only(told(judged=evaluation(1000, 1000, baseline=1.0))).severity == "good"


def test_a_model_that_guesses_is_said_to() -> None:
    assert only(told(judged=evaluation(210, 1000, baseline=0.2))).what == "The model is not clearly better than a guess."


def test_a_model_that_is_too_sure_of_its_errors() -> None:
    judged = evaluation()
    judged["test"]["loss"] = 3.5
    insight = only(told(judged=judged))
    assert (insight.severity, insight.evidence) == ("warning", "test loss 3.500, that of a guess 1.609; test accuracy 90.0%")


def test_a_validation_split_that_flatters() -> None:
    flattered = evaluation(800, 1000, baseline=0.3) | {"valid": evaluation(950, 1000)["test"]}
    insight = only(told(judged=flattered))
    assert (insight.severity, insight.evidence) == ("warning", "80.0% of 1,000 test, 95.0% of 1,000 validation photos")


def weak(recall: float, photos: int) -> dict[str, Any]:
    """Figures in which tulip falls behind."""
    judged = evaluation()
    judged["per_class"][-1] |= {"recall": recall, "photos": photos}
    judged["most_confused"] = [{"shown": "tulip", "called": "rose", "photos": 3}]
    return judged


def test_a_class_that_falls_behind_is_named() -> None:
    insight = only(told(judged=weak(0.5, 200)))
    assert insight.what == "One class is recognised much less often than the others: tulip."
    assert insight.evidence == "tulip: 50.0% of 200 test photos"
    assert "tulip is most often predicted as rose" in insight.change


def test_a_class_that_falls_behind_for_want_of_photos_needs_photos() -> None:
    photos = data(photos={"train": {**dict.fromkeys(CLASSES, 600), "tulip": 31}})
    assert only(told(judged=weak(0.5, 200), photos=photos)).change == "Add photos: tulip has 31 in training, the median class has 600."


def test_bad_luck_with_a_few_photos_is_not_told() -> None:
    """2 of 4 rightly, where 90 % would be usual, happens by chance."""
    assert only(told(judged=weak(0.5, 4))).severity == "good"
    assert only(told(judged=weak(0.85, 200))).severity == "good"
    assert only(told(judged=weak(0.75, 5000))).severity == "warning"


def test_a_pair_of_classes_that_is_confused() -> None:
    judged = evaluation()
    judged["most_confused"] = [{"shown": "rose", "called": "tulip", "photos": 60}, {"shown": "daisy", "called": "tulip", "photos": 4}]
    assert told(judged=judged)[1].evidence == "60 of 200 photos of rose predicted as tulip"
    by_rule = only(told(debug_rules(found("Confusion", "rose was called tulip 60 times")), judged=judged))
    assert by_rule.source == "rule Confusion"


def test_probabilities_that_are_wrong_are_told_where_enough_photos_say_so() -> None:
    for photos, expected in ((1000, 1), (150, 0)):
        judged = evaluation(photos * 9 // 10, photos, baseline=0.1)
        judged["test"]["calibrated"]["error"] = 0.15
        assert sum("calibrated" in insight.what for insight in told(judged=judged)) == expected


def test_photos_that_are_probably_labelled_wrongly() -> None:
    errors = [
        {"file": "rose/7.jpg", "shown": "rose", "called": "tulip", "probability": 0.99, "shown_probability": 0.0, "index": 7},
        {"file": "rose/8.jpg", "shown": "rose", "called": "daisy", "probability": 0.7, "shown_probability": 0.2, "index": 8},
    ]
    note = told(judged=evaluation(worst_errors=errors))[1]
    assert note.what == "1 test photo is confidently misclassified: check the labels."
    assert note.evidence == "rose/7.jpg: labelled rose, predicted as tulip with 99.0%"


# Photos


def test_a_photo_under_two_labels() -> None:
    pair = {"a": "rose/1.jpg", "b": "tulip/1.jpg", "classes": ["rose", "tulip"], "distance": 0}
    duplicates = {"exact": [], "near": [], "near_pairs": 0, "suspicious": [pair]}
    insight = only(told(photos=data(duplicates=duplicates)))
    assert (insight.severity, insight.evidence) == ("warning", "rose/1.jpg and tulip/1.jpg: the same photo, labelled rose and tulip")


def test_the_data_sets_own_warnings_are_one_insight() -> None:
    insight = only(told(photos=data(warnings=["class 'rose' has no photo in test", "class 'tulip' has no photo in test"])))
    assert insight.evidence == "class 'rose' has no photo in test (and 1 more)"


def test_uneven_classes_are_told_once() -> None:
    uneven = data(balance={"biggest": {"class": "daisy", "photos": 900}, "smallest": {"class": "rose", "photos": 45}, "ratio": 20.0})
    assert told(photos=uneven)[1].evidence == "daisy: 900 training photos, rose: 45"
    assert only(told(debug_rules(found("ClassImbalance", "rose: 80 % wrong")), photos=uneven)).source == "rule ClassImbalance"


def test_classes_with_hardly_a_photo() -> None:
    note = told(photos=data(photos={"train": {**dict.fromkeys(CLASSES, 600), "tulip": 7, "rose": 19}}))[1]
    assert (note.what, note.evidence) == ("2 classes have fewer than 20 training photos.", "tulip 7, rose 19")


@pytest.mark.parametrize(("lost", "said"), [(200, True), (10, False)])
def test_many_files_that_are_no_photos(lost: int, said: bool) -> None:
    seen = told(photos=data(left_out=[{"file": f"{number}.txt", "reason": "it is text"} for number in range(lost)]))
    assert any("files could not be used" in insight.what for insight in seen) == said


# Profiler


def test_a_gpu_that_waits_for_the_cpu_is_told_once() -> None:
    rules = profiler_rules(
        found("CPUBottleneck", "61 % of the time"), found("LowGPUUtilization", "p95 31 %"), found("Dataloader", "2 processes on 8 cores")
    )
    insight = only(told(profiler=rules, measured=profile(waiting=0.625)))
    assert (insight.severity, insight.what, insight.change) == ("warning", TABLE["CPUBottleneck"].what, TABLE["CPUBottleneck"].change)
    assert insight.source == "profiler rule CPUBottleneck and Dataloader and LowGPUUtilization, for the same cause"
    assert insight.evidence == "61 % of the time; 62.5% of each training step is spent waiting for photos"


def test_in_a_short_job_time_is_no_warning_but_memory_is() -> None:
    short = profile(seconds=20.0)
    slow, leak = found("StepOutlier", "12 steps"), found("GPUMemoryIncrease", "7 % in 10 points")
    assert [insight.severity for insight in told(profiler=profiler_rules(slow), measured=short)] == ["good", "note"]
    assert only(told(profiler=profiler_rules(leak), measured=short)).severity == "warning"


def test_waiting_is_told_without_a_rule() -> None:
    insight = only(told(measured=profile(waiting=0.5)))
    assert insight.what == "50.0% of each training step is spent waiting for photos."
    assert insight.evidence == "400 training steps with a median of 210 ms"
    assert told(measured=profile(waiting=0.5, seconds=20.0))[1].severity == "note"


def test_an_idle_gpu_is_told_without_a_rule() -> None:
    idle = [{"name": "gpu0", "utilization": spread(12.0), "memory": spread(9.0)}]
    assert told(measured=profile(gpu=idle))[1].evidence == "mean utilization: gpu0 12 %"
    assert len(told(measured=profile(gpu=idle, seconds=20.0))) == 1, "of a job of 20 s nobody wants to know"
    assert len(told(measured=profile(gpu=[]))) == 1
    assert len(told(measured=profile(gpu=[{"name": "gpu0", "utilization": {}, "memory": {}}]))) == 1


def test_saving_that_costs_much_of_a_step() -> None:
    note = told(measured=profile(saving=0.245))[1]
    assert (note.severity, note.what) == ("note", "Saving tensors for the debugger took 25.0% of the training loop.")
    assert len(told(measured=profile(saving=0.245, seconds=20.0))) == 1


def test_memory_that_is_nearly_full() -> None:
    assert only(told(measured=profile(memory={**spread(60.0), "max": 96.0}))).evidence == "maximum 96 %, 95th percentile 72 %"


def test_a_profiler_that_failed_is_told_once() -> None:
    broken = profile(problem="the sampler ended with status 1")
    assert only(told(measured=broken)).evidence == "the sampler ended with status 1"
    errors = [status(name, "Error", "InternalError: the sampler ended with status 1") for name in ("BatchSize", "Dataloader")]
    assert only(told(profiler=errors, measured=broken)).what == "2 profiler rules could not judge: BatchSize and Dataloader."


def test_a_job_too_short_to_be_judged_is_a_note() -> None:
    errors = [status(name, "Error", "InternalError: not judged: there are 3 samples") for name in ("BatchSize", "Dataloader")]
    note = told(profiler=errors, measured=profile(seconds=4.0))[1]
    assert (note.severity, note.what) == ("note", "The job was too short for 2 profiler rules: BatchSize and Dataloader.")
    assert note.evidence == "4 s; not judged: there are 3 samples"
    assert only(told(profiler=errors, measured=profile(seconds=4.0, problem="no sampler"))).severity == "warning"
    assert only(told(profiler=errors, measured={})).severity == "warning"


# Together


def test_the_most_urgent_come_first_and_there_are_never_many() -> None:
    rules = debug_rules(
        *(found(name, "met once") for name in ("UnchangedTensor", "DeadRelu", "TensorVariance", "ClassImbalance", "SimilarAcrossRuns")),
        status("Overfit", "Error", "InternalError: no EVAL losses"),
    )
    profiler = profiler_rules(*(found(name, "met once") for name in ("IOBottleneck", "StepOutlier", "LoadBalancing")))
    seen = told(rules, profiler, judged=evaluation(60, 100, baseline=0.9), photos=data(warnings=["look"]))
    assert len(seen) == MOST
    ranks = [SEVERITIES.index(insight.severity) for insight in seen]
    assert ranks == sorted(ranks)
    assert (seen[0].source, seen[1].source) == ("rule UnchangedTensor", "evaluation.json")
    assert all(insight.what and insight.why and insight.change for insight in seen)
