"""The debugger's built-in rules, under AWS's names, parameters and defaults: one file a rule.

AWS's own implementations are closed; these follow its documentation. Run in training jobs, after the training, by training.rules.judge.
"""
