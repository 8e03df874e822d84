"""Training of a run: the data, network and plan it starts from, each setting's epochs, checkpoints and run folder.

`experiment.train` is the whole; `training` one setting and its epochs, `head` the fit of the last layer alone.
"""
