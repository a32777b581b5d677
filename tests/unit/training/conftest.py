"""One prepared data set and one finished training job for these tests."""

from tests.fixtures.training.jobs import finished, photos, prepared, weights

__all__ = ["finished", "photos", "prepared", "weights"]
