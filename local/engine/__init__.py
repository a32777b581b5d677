"""The AWS engine (ministack) in its own process, with adapters for the behaviour it lacks. Only this package imports ministack."""
