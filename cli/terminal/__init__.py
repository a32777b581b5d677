"""The terminal: the console, options that several verbs share, errors that end a verb."""
