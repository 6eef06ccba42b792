"""The kinds of requests that are decided, admitted, called and settled, all the same way."""

from typing import Literal, TypeVar

from compass_ray.types.chat import ChatRequest
from compass_ray.types.embeddings import EmbeddingRequest

Kind = Literal["chat", "embeddings"]

Request = ChatRequest | EmbeddingRequest

RequestT = TypeVar("RequestT", ChatRequest, EmbeddingRequest)
