"""What fits the library into other tools, a module each; they use its public face, as anybody does."""
