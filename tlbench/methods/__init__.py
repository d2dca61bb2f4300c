"""Methods: the protocol, how one is found and loaded, versions, references."""
