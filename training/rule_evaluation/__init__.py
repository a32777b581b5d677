"""What runs the debugger rules: beside the training, or over saved tensors; their statuses."""
