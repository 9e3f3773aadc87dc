"""Two runs compared: side by side on the page (`report --compare`), or with kept ones: `verify`."""
