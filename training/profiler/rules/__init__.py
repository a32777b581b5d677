"""The profiler's rules under AWS's names, one per file: each checks a job's measurements for one kind of lost time.

Their parameters and defaults are AWS's. Each rule documents what AWS leaves open and what short jobs need beyond it.
"""
