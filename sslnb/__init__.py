"""Self-supervised sound localisation by transformation invariance and equivariance.

Files in the order of the notebooks; nothing imports from a later one:

    media, soundstamps, data    01  pictures, sounds and scenes
    augment                     02  transformations, drawn and applied
    model, losses               03, 04  encoders, response map, the two losses
    localise                    06  evaluation; training validates with it
    train                       05  the loop
    retrieve                    07  retrieval
    plot, widgets, check        figures, controls and exercises of the notebooks
    pages, run, doctor          the commands behind `make`
"""
