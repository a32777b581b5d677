"""The command `whippet`: the product's verbs, against AWS and against local mode alike. Runs on the user's machine."""
