"""The profiler rules under AWS's names, one a file: each says of a job's measurements whether something took longer than it had to.

Their parameters and defaults are AWS's. What AWS leaves to the reader, and where jobs of seconds need more than AWS says, stands in each.
"""
