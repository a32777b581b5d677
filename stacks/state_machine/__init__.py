"""The state machine: its definition, a file for each group of states, the states language and the request bodies. Runs at synth."""
