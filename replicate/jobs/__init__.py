"""What is run, and whether what lies on disk is what the run would make (docs/architecture.md, "What is current")."""
