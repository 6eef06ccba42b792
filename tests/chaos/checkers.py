"""The invariants, each as a function from what was seen to what is wrong. Pure.

I0 no answer is a 500: whatever happens has a name.
I1 money: the books add up, and no grant went above a limit.
I2 every request that was accepted has its terminal records, and nothing is left open.
I3 what was billed is what the provider produced.
I4 what a client was told has happened is in the books.
I5 each call of a provider was posted once.
I6 no tenant saw another's words.
I7 no secret is in any log.
I8 after the faults all is as before: errors, latency, processes, files.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median

from .evidence import Call, Evidence, Footprint, Posting
from .history import Seen
from .world import INPUT, OUTPUT

_TOKEN_CHARS = 4
"""Of the simulator's answers, which are ASCII."""

_SLOWER, _SECONDS = 3.0, 0.1
_MORE_FILES = 100
"""Idle connections to providers and clients may be open at one time and not at another."""
_EXPECTED = {200, 402}
_DEFECT = 500


def nothing_is_a_defect(seen: Iterable[Seen]) -> Iterator[str]:
    """I0. HAProxy answers 500 too, where it has no replica left, and without a request id."""
    for one in seen:
        if one.status == _DEFECT and one.request_id is not None:
            yield f"I0: operation {one.operation.number} got a 500 ({one.request_id})"


def books_add_up(evidence: Evidence, worst: Mapping[str, str]) -> Iterator[str]:
    """I1. `worst` says, by bucket, what a look at the books during the run found above a limit."""
    for mistake in evidence.mistakes:
        yield f"I1: {mistake}"
    for mistake in worst.values():
        yield f"I1: {mistake}"


def everything_ended(seen: Iterable[Seen], evidence: Evidence, invoked: int) -> Iterator[str]:
    """I2."""
    seen = list(seen)
    if len(seen) != invoked:
        yield f"I2: {invoked} operations began, {len(seen)} ended"
    if evidence.leased:
        yield f"I2: {evidence.leased} micro-dollars are still on lease"
    for what in evidence.unfinished[:5]:
        yield f"I2: {what} is left in a journal"
    ids = Counter(posting.id for posting in evidence.postings)
    yield from (f"I2: {name} has {count} records" for name, count in ids.items() if count > 1)
    for one in seen:
        accepted = one.status == 200 and one.operation.kind == "chat"
        if accepted and one.request_id is None:
            yield f"I2: operation {one.operation.number} was accepted without a request id"


def the_bill_is_right(seen: Iterable[Seen], evidence: Evidence) -> Iterator[str]:
    """I3. An estimate is never less than what the client received, never above the reserve."""
    calls, bills = _by_operation(seen, evidence)
    for key in calls.keys() | bills.keys():
        one, posted = bills.get(key, (None, ()))
        yield from _wrong_bill(key, one, posted, calls.get(key, ()))
    for posting in evidence.postings:
        if posting.cost > posting.reserved:
            yield f"I3: {posting.id} cost {posting.cost}, reserved were {posting.reserved}"


def nothing_told_is_lost(seen: Iterable[Seen], evidence: Evidence) -> Iterator[str]:
    """I4."""
    posted = _by_request(evidence.postings)
    for one in seen:
        if one.outcome != "ok" or one.operation.kind != "chat":
            continue
        mine = posted.get(one.request_id or "", ())
        if not any(posting.outcome == "settled" for posting in mine):
            yield f"I4: {one.request_id} was answered and is not in the books"
        booked = sum(posting.cost for posting in mine)
        if one.cost is not None and booked != one.cost:
            yield f"I4: {one.request_id} was told {one.cost}, booked are {booked}"


def each_call_is_posted_once(seen: Iterable[Seen], evidence: Evidence) -> Iterator[str]:
    """I5."""
    calls, bills = _by_operation(seen, evidence)
    for key, made in calls.items():
        _, posted = bills.get(key, (None, ()))
        if len(made) > len(posted):
            yield f"I5: {key or 'unknown requests'}: {len(made)} calls, {len(posted)} postings"


def tenants_are_apart(seen: Iterable[Seen]) -> Iterator[str]:
    """I6."""
    for one in seen:
        if one.leaks:
            yield f"I6: operation {one.operation.number} was shown {one.leaks[0][:14]}…"


def no_secret_is_logged(evidence: Evidence) -> Iterator[str]:
    """I7."""
    yield from (f"I7: {found}" for found in evidence.secrets_in_logs)


def all_is_as_before(
    before: Sequence[Seen], after: Sequence[Seen], held: tuple[Footprint, Footprint]
) -> Iterator[str]:
    """I8. `before` and `after` were asked while the nemesis rested."""
    wrong = Counter(one.status or one.error for one in after if _is_a_failure(one))
    if wrong:
        yield f"I8: after the faults there still were {dict(wrong)} of {len(after)}"
    quick, slow = _latency(before), _latency(after)
    if slow > _SLOWER * quick + _SECONDS:
        yield f"I8: half of the answers took {quick:.3f} s before and {slow:.3f} s after"
    first, last = held
    if first.processes != last.processes:
        yield f"I8: processes were {first.processes}, are {last.processes}"
    if last.replica_files > first.replica_files + _MORE_FILES:
        yield f"I8: a replica had {first.replica_files} files open, has {last.replica_files}"


def _is_a_failure(one: Seen) -> bool:
    if one.operation.kind == "snoop":
        return one.status != 404
    return one.error != "left" and not (one.status in _EXPECTED and one.outcome != "info")


def _latency(seen: Sequence[Seen]) -> float:
    return median([one.ended - one.began for one in seen if one.outcome == "ok"] or [0.0])


def _by_request(postings: Iterable[Posting]) -> dict[str, list[Posting]]:
    found: dict[str, list[Posting]] = defaultdict(list)
    for posting in postings:
        found[posting.request_id].append(posting)
    return found


def _by_operation(
    seen: Iterable[Seen], evidence: Evidence
) -> tuple[dict[str, list[Call]], dict[str, tuple[Seen | None, Sequence[Posting]]]]:
    """Return calls and postings by request id; under "" those whose client never learned it."""
    posted = _by_request(evidence.postings)
    bills: dict[str, tuple[Seen | None, Sequence[Posting]]] = {}
    request_of: dict[str, str] = {}
    for one in seen:
        if one.request_id is not None and one.operation.kind == "chat":
            request_of[one.operation.asked] = one.request_id
            bills[one.request_id] = one, posted.pop(one.request_id, ())
    bills[""] = None, [posting for some in posted.values() for posting in some]
    calls: dict[str, list[Call]] = defaultdict(list)
    for call in evidence.calls:
        calls[request_of.get(call.asked, "")].append(call)
    return calls, bills


def _wrong_bill(
    key: str, one: Seen | None, posted: Sequence[Posting], calls: Sequence[Call]
) -> Iterator[str]:
    name = key or "a request whose client learned no id"
    produced = Counter((c.input_tokens, c.output_tokens) for c in calls if c.status == 200)
    billed = Counter(
        (p.input_tokens, p.output_tokens)
        for p in posted
        if p.outcome == "settled" and not p.estimated
    )
    for tokens, count in (billed - produced).items():
        yield f"I3: {name} was billed {count} x {tokens} tokens that nobody produced"
    whole = Counter(
        (c.input_tokens, c.output_tokens)
        for c in calls
        if c.status == 200 and c.fault is None and not c.aborted
    )
    guessed = sum(p.estimated or p.outcome == "expired" for p in posted)
    if (missing := (whole - billed).total()) > guessed:
        yield f"I3: {name} got {missing} answers that nobody paid for"
    if one is not None and one.chars:
        received = OUTPUT * -(-one.chars // _TOKEN_CHARS) + INPUT
        if sum(p.cost for p in posted) < received and "auto" not in one.operation.model:
            yield f"I3: {name} received {one.chars} characters and paid too little"
