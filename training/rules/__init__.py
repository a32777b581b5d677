"""The debugger's built-in rules, under AWS's names, parameters and defaults: one rule per file.

AWS's own implementations are closed; these follow its documentation, and where that leaves something open the rule's docstring says what
was chosen. `judge` takes them over saved tensors, `evaluate` is the process that does so while a training goes on, and `watch` runs that
process in a job.
"""
