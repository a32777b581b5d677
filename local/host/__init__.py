"""Local mode's access to the machine: processes, ports, the record of the last start, the request guard, the certificate."""
