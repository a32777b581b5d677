"""The report of a training job: insights, charts, tables and the page."""
