"""What the plane keeps: its store, S3 objects and archives, tags, state changes, sessions of roles."""
