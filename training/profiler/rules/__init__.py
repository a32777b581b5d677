"""The profiler's rules under AWS's names, one per file: each checks a job's measurements for one kind of lost time.

Their parameters and defaults are AWS's. What AWS leaves to the reader, and where jobs of seconds need more than AWS says, stands in each.
"""
