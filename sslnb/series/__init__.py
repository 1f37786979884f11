"""The notebooks as a series: run them, make their pages, teach with them.

run       execute notebooks
pages     an HTML page of each, and an index
lint      what can be wrong with a notebook as it is stored
handouts  for a class: without solutions, and with them
slides    the questions, equations and figures of each
excerpts  a widget of a notebook with what it needs
demo      the widgets on a server, without Jupyter
doctor    what this machine has, and what to do about what is missing
"""
