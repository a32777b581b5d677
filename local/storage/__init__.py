"""The plane's state: its store, S3 objects and archives, tags, state changes, role sessions."""
