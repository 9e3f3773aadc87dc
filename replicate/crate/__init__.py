"""A finished run as a crate: one file that others can read, check and cite (RO-Crate)."""
