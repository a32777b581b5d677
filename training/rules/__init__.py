"""The debugger's built-in rules, under AWS's names, parameters and defaults: one rule per file.

AWS's implementations are not public; these follow its documentation, and where that is ambiguous the rule's docstring states the choice.
In training/rule_evaluation, `judge` runs them over saved tensors, `evaluate` is the process that does so during a training, and `watch`
runs that process in a job.
"""
