"""Self-supervised sound localisation by transformation invariance and equivariance.

What the paper is about stands here, one idea a file; each package says what it holds.

    data       01  images, sounds and clips; the field's data; packed stores
    augment    02  transformations, drawn once, then applied to image, map or sound
    losses     03, 04  the invariance and the equivariance loss
    model      03, 04  two encoders and the response map between them
    release    03, 04  the authors' published weights
    consistency    03, 04  how invariant and how equivariant a model is
    training   05  settings, one step, the loop
    localise   06  evaluation, response maps, videos
    retrieve   07  retrieval
    export     the model as ONNX, for other programs
    teach      figures, widgets and exercises of the notebooks
    series     running the notebooks
    cores      fewer threads while other programs need the cores
    files      where the data lies; atomic writes
"""
