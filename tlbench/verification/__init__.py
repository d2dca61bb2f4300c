"""Is it true: the contract of methods, answers, tasks of known truth, reproduction, submissions."""
