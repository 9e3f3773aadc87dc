"""The Parzen-window estimate of the log-likelihood."""
