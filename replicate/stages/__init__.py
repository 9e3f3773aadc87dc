"""One module per stage: its command-line arguments, and the function that runs it."""
