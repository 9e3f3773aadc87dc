"""Raw formats, and how images are cut out of them."""
