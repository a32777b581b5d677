"""The execution input: its fields, what is allowed, the schema."""
