"""The methods whose answers guard the numerics that a method of one's own may be built of, too."""

RESTING = ("dan", "kmm", "ot_mapping", "bbse", "coral", "maml")  # on losses, kernels, transport, priors, shallow, inner
