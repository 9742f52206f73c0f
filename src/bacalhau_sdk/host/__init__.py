"""What the machine gives: threads that can be told to stop, folders that can always be removed."""
