"""The activity of a layer's units: the neurons of a dense layer, the channels of a convolution.

Used by the rules that look at activations.
"""

from training.rules.saved_tensors import Array


def units(value: Array) -> Array:
    """Return [units, values of each] of [photos, units, ...], or of means per photo and unit."""
    if value.ndim < 2:
        return value.reshape(1, -1) if value.size else value.reshape(0, 0)
    return value.swapaxes(0, 1).reshape(value.shape[1], -1)


def inactive_percent(active: Array, threshold: float) -> float:
    """Return the percentage of units that are active in less than `threshold` percent of their values; `active`: in the form of `units`."""
    return float(100 * (100 * active.mean(axis=1) < threshold).mean())
