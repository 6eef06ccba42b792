"""How many calls ended how in the last seconds: a sliding window in buckets. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Window:
    """Calls and failures of the current bucket, and of the whole buckets before it.

    The past is summed once per bucket, so counting a call takes constant time. A window of n
    buckets spans between n - 1 and n bucket widths, depending on how far the current one is.
    """

    bucket: int = 0
    calls: int = 0
    failures: int = 0
    past: tuple[tuple[int, int, int], ...] = ()
    """(bucket, calls, failures), oldest first."""
    past_calls: int = 0
    past_failures: int = 0

    @property
    def total_calls(self) -> int:
        """Calls in the window."""
        return self.past_calls + self.calls

    @property
    def total_failures(self) -> int:
        """Failed calls in the window."""
        return self.past_failures + self.failures


def count(window: Window, bucket: int, buckets: int, calls: int, failures: int) -> Window:
    """Return the window after `calls` more, `failures` of them failed, in `bucket`.

    `bucket` is the time divided by the bucket's width, rounded down; `buckets` is how many of
    them the window spans. A bucket before the current one (a clock that stepped back) counts
    as the current one.
    """
    if bucket > window.bucket:
        window = _roll(window, bucket, buckets)
    return Window(
        window.bucket,
        window.calls + calls,
        window.failures + failures,
        window.past,
        window.past_calls,
        window.past_failures,
    )


def _roll(window: Window, bucket: int, buckets: int) -> Window:
    ended = (window.bucket, window.calls, window.failures)
    past = tuple(entry for entry in (*window.past, ended) if entry[0] > bucket - buckets)
    return Window(
        bucket=bucket,
        past=past,
        past_calls=sum(calls for _, calls, _ in past),
        past_failures=sum(failures for _, _, failures in past),
    )
