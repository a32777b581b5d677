"""The machine that local mode runs on: processes, ports and their guard, the certificate."""
