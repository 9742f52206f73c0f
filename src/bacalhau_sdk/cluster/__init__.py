"""What makes it happen: interprets the effects of the cores, and owns the lifecycles of jobs and nodes."""
