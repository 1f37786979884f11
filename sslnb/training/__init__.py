"""Training (notebook 05; sections 3.3 and 4.1 of the paper).

recipe      every setting of a run, and the models A to F of table 1
loop        the training loop
step        one step: two views, one sound, equation 11
clips       which clips train, and which choose the best epoch
feed        batches of clips on the device
state       weights, their average, optimiser and metrics
folder      the folder of a run: one run in it, and one process that writes
checkpoint  the state of a run on disk: save and resume
report      losses and seconds of an epoch, and where an error arose
parallel    several processes that share a batch
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
