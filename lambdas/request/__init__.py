"""The execution input: its fields, their allowed values, its JSON schema."""
