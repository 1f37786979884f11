"""Training (notebook 05; sections 3.3 and 4.1 of the paper).

    recipe      every setting of a run, and the models A to F of table 1
    step        one step: two views, one sound, equation 11
    loop        the training loop
    feed        batches of clips on the device
    checkpoint  the state of a run: save and resume
    parallel    several processes that share a batch
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
