"""The notebooks as a series: run them, make their pages, check the machine.

run     execute notebooks
pages   an HTML page of each, and an index
doctor  what this machine has, and what to do about what is missing
"""
