"""Training of a run: its plan, each setting's epochs, checkpoints and the run folder.

`experiment.train` is the whole, `training` one setting, `head` the fit of the last layer alone.
"""
