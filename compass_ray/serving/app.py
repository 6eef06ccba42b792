"""Settings in, a Serve application out."""

from ray import serve

from compass_ray.serving.gateway import GatewayDeployment
from compass_ray.serving.unwatched import GATEWAY
from compass_ray.settings import Settings


def gateway_app(settings: Settings, replicas: int = 1) -> serve.Application:
    """Return the gateway with so many replicas.

    A replica waits for providers most of the time, so it reserves no CPU, and takes far more
    requests at once than it has cores.
    """
    deployment = serve.deployment(
        name=GATEWAY,
        num_replicas=replicas,
        max_ongoing_requests=settings.server.max_parallel_requests,
        ray_actor_options={"num_cpus": 0},
        health_check_period_s=2,
        health_check_timeout_s=5,
        graceful_shutdown_wait_loop_s=0.2,
        graceful_shutdown_timeout_s=30,
    )
    app: serve.Application = deployment(GatewayDeployment).bind(settings)
    return app
