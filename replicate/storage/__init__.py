"""Files, folders and documents: written whole or not at all, locked, named by digest, read
strictly.
"""
