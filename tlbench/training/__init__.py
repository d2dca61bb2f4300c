"""What methods share: the trainer, networks, losses, meta-learning, fine-tuning and classical solvers."""
