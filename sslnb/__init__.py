"""Self-supervised sound localisation by transformation invariance and equivariance.

Files in the order of the notebooks; nothing imports from a later one:

    files                                   whole files or none
    decode, media, soundstamps              01  videos, pictures, sounds, scenes
    prepare, annotations, lists, layouts,   01  the field's data: from videos to clips,
    download                                    truth, splits, folders, where to get them
    data, arrays, packing, store            01  clips as tensors, in memory or packed
    augment                                 02  transformations, drawn and applied
    losses, release, model                  03, 04  the two losses, published weights,
                                                encoders and response map
    localise                                06  evaluation; training validates with it
    recipe, parallel, checkpoint, feed,     05  settings, several processes, stop and go,
    step, train                                 batches, one step, the loop
    retrieve                                07  retrieval
    plot, augment_widget, widgets,          figures, controls and exercises of notebooks
    video_widget, check
    pages, run, doctor                      the commands behind `make`
"""
