"""Dataset cards: where public data come from, how they are downloaded, checked and unpacked."""
