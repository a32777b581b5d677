"""What all verbs print with: the screen, options that several verbs take, errors that end a verb."""
