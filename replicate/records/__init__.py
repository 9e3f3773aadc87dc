"""Result files and run records: their types, their frame, and where a value comes from."""
