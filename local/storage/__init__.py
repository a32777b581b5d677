"""The plane's storage: its document store, S3 objects and archives, tags, state change events, role sessions."""
