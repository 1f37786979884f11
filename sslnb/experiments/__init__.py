"""The grid of experiments behind notebook 08.

grid        the grid file, and the runs that it asks for
pool        runs on all cores or GPUs of a machine
run         one run: train, measure, write its result
measure     what a model is measured by, clip by clip
classifier  the baseline with labels
"""
