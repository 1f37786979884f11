"""Figures, widgets and exercises of the notebooks; nothing else uses them.

plot            figures
evaluation      scores beside priors, other sounds (06, A2)
protocols       one model by other rules, votes, cropped images (A2)
published       numbers measured on the field's data, or printed in papers (06, A2)
exercises       checks that say what is wrong with an answer, a file a notebook
invariance      maps and tables of notebook 03
widgets         a widget for each notebook
ablation        table 1 beside its noise: scores, steps, intervals (05, 08)
learning        what seeds say of a step; runs of one's own (05)
equivariance    transforms, measures and a fair trial of the loss (04)
experiments     tables and texts of the grid's results (05, 08)
outcomes        what notebook 08 shows beside tables
claims          what the grid says of the paper's claims (08)
figures         the README's figures
diagram         the method as a drawing, with each notebook's part lit
partners        sounds to mix: average spectra, how often a partner fits (02)
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
