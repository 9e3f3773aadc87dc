"""What is run, and whether what lies on disk is what the run would make (docs/reliability.md,
"What is current").
"""
