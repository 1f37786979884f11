"""The grid of experiments behind notebook 08.

grid        the grid file, and the runs that it asks for
pool        runs on all cores or GPUs of a machine
workers     the processes that make them
cluster     runs on a Slurm cluster, as one job array
pace        how long the runs that are left will take
run         one run: train, measure, write its result
measure     what a model is measured by, clip by clip
packed      columns of values as text
classifier  the baseline with labels
results     results compared clip by clip and seed by seed
"""
