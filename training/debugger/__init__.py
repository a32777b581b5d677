"""The debugger inside a training job: what is recorded, when, and the smdebug hook and files it goes through."""
