"""Log-likelihood under a Parzen window, whole or in shards."""
