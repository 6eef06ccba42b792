"""The data path of one request, in one process, without Ray."""
