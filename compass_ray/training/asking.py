"""A prompt of the data, as a request."""

from compass_ray.types.chat import ChatRequest


def asking(text: str) -> ChatRequest:
    """Return the request of a caller who asks nothing but `text`."""
    return ChatRequest(
        body={"model": "auto", "messages": [{"role": "user", "content": text}]},
        model="auto",
        text=text,
        last_user_text=text,
        needs=frozenset(),
        input_bytes=len(text.encode("utf-8", "surrogatepass")),
    )
