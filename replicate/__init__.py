"""A replication of "Generative Adversarial Nets" (Goodfellow et al., 2014), claim by claim."""

__version__ = "0.1.0"
