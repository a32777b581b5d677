"""Labels and predictions of a step, as whole numbers.

Used by the rules that compare them.
"""

import numpy as np

from training.rules.saved_tensors import Array


def to_class_indices(value: Array, name: str, *, argmax: bool) -> Array:
    """Return int64 [photos]; `argmax`: the tensor holds a number for each class.

    Raises:
        ValueError: the tensor has another shape.
    """
    if argmax and value.ndim == 2:
        return np.asarray(value.argmax(axis=1), dtype=np.int64)
    flat = value.reshape(-1) if value.ndim < 2 or value.shape[1:] == (1,) else None
    if flat is None:
        raise ValueError(f"{name} has the shape {list(value.shape)}, which is not one class per photo: set argmax to True, or save classes")
    return np.asarray(np.round(flat), dtype=np.int64)
