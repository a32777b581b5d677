"""The AWS engine (ministack) in a process of its own, with the seams that add what it lacks. Only this package knows ministack."""
