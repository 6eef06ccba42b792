"""`python -m compass_ray` is `compass`."""

from compass_ray.cli import app

app()
