"""What local mode needs of the machine: processes, ports and their guard, the certificate."""
