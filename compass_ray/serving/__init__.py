"""The rim: HTTP, Serve deployments and the composition root."""
