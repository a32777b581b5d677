"""One engine and one SageMaker plane for these tests."""

from tests.fixtures.local.running import fresh_local, image, local

__all__ = ["fresh_local", "image", "local"]
