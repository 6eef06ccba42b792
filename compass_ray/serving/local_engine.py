"""A model on the CPU: llama.cpp and its OpenAI-compatible server inside this process.

The engine computes and answers HTTP in native threads, outside the interpreter lock. Callers use
it like any other provider, by its URL.
"""

import http.client
import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from compass_ray.types.errors import ConfigError

if TYPE_CHECKING:
    import xllamacpp

_HEALTH_TIMEOUT = 2.0


class LocalEngine:
    """One loaded model, served on a loopback port of the system's choice until the process ends."""

    def __init__(
        self, model_path: Path, *, threads: int | None, context: int, parallel: int, alias: str
    ) -> None:
        """Load the model; takes about a second per gigabyte.

        Args:
            model_path: a GGUF file with a chat template.
            threads: of computation; None means all cores but one. They wait for each other at
                every layer, so where one has to share its core all are slow: two on two busy
                cores made 5 tokens a second, one made 100.
            context: tokens of prompt and answer together that one request may have.
            parallel: requests answered at once; more wait.
            alias: the model name in answers.

        Raises:
            ConfigError: the file is missing or not a model.
        """
        if not model_path.is_file():
            raise ConfigError(f"model file {str(model_path)!r} does not exist")
        import xllamacpp  # noqa: PLC0415  # 8 MB that only an engine's own process needs

        parameters = xllamacpp.CommonParams()
        _set(
            parameters,
            model_path,
            threads=threads,
            context=context,
            parallel=parallel,
            alias=alias,
        )
        try:
            self._server = xllamacpp.Server(parameters)
        except RuntimeError as exc:
            raise ConfigError(f"model file {str(model_path)!r} cannot be loaded: {exc}") from exc
        self._address: str = self._server.listening_address

    def url(self) -> str:
        """Return the base URL of the OpenAI wire, ending in /v1."""
        return f"{self._address}/v1"

    def health(self) -> bool:
        """Return whether the server answers within 2 seconds."""
        connection = http.client.HTTPConnection(
            urlsplit(self._address).netloc, timeout=_HEALTH_TIMEOUT
        )
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


def _set(
    parameters: "xllamacpp.CommonParams",
    model_path: Path,
    *,
    threads: int | None,
    context: int,
    parallel: int,
    alias: str,
) -> None:
    parameters.model.path = str(model_path)
    parameters.model_alias = {alias}
    parameters.cpuparams.n_threads = threads or max(1, len(os.sched_getaffinity(0)) - 1)
    parameters.n_parallel = parallel
    parameters.n_ctx = context * parallel
    parameters.use_jinja = True
    # What SmolLM2's model card recommends; small models ramble at the usual 0.8 to 1.0.
    parameters.sampling.temp = 0.2
    parameters.sampling.top_p = 0.9
    # Without it 5 of 12 answers about the capital of France repeated themselves without end.
    parameters.sampling.penalty_repeat = 1.1
    parameters.hostnames = ["127.0.0.1"]
    parameters.port = 0
    # The default keeps the state of past prompts in up to 8 GiB of memory.
    parameters.cache_ram_mib = 0
    parameters.verbosity = 0
    # What is not needed is not reachable: the page, other requests' prompts, foreign web pages.
    parameters.ui = False
    parameters.endpoint_slots = False
    parameters.cors_origins = "localhost"
