"""Providers: how each family of model servers is spoken to. They translate; they do not decide."""
