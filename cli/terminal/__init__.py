"""The terminal: the screen, options that several verbs share, errors that end a verb."""
