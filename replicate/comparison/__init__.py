"""A run beside another one: `report --compare`."""
