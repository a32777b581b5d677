"""Evaluates the debugger's rules, beside the training or over saved tensors, and writes their statuses."""
