"""What things are: frozen values without I/O, without a clock, without async."""
