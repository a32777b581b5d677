"""Functional tests of the jobs and the model server: the debugger rules on saved tensors."""
