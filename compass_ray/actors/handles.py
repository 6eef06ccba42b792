"""The ports of the data path, implemented by actor handles: the gateway's only `.remote()`."""

from collections.abc import Mapping, Sequence
from typing import Any

from compass_ray.policy.belief import Taught
from compass_ray.policy.breaker import Action, Outcome, Permit
from compass_ray.telemetry import Snapshot
from compass_ray.types.batches import Batch, Page, Purpose, StoredFile
from compass_ray.types.decisions import Judgement, KeptDecision, Learning, Note
from compass_ray.types.decisions import Order as LearningOrder
from compass_ray.types.decisions import Verdict as JudgementVerdict
from compass_ray.types.experiments import ExperimentOrder, Run
from compass_ray.types.idempotency import Claim, Ending, Verdict
from compass_ray.types.money import Alert, Balance, Sync, SyncReply
from compass_ray.types.run_analytics import Analysis, AnalysisQuery
from compass_ray.types.settings import WebhookSettings
from compass_ray.types.shifts import Shift
from compass_ray.types.status import CircuitStatus, ProviderStatus
from compass_ray.types.workflows import Begun, Event, Order, RunQuery, Summary
from compass_ray.types.workflows import Page as RunPage


class LedgerHandle:
    """The Ledger actor, as a wallet sees it."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    async def sync(self, request: Sync) -> SyncReply:
        """Post settlements and renew leases; safe to repeat."""
        reply: SyncReply = await self._actor.sync.remote(request)
        return reply

    async def balances(self, buckets: tuple[str, ...]) -> list[Balance]:
        """Return the books of those buckets."""
        found: list[Balance] = await self._actor.balances.remote(buckets)
        return found

    async def postings(self, request_id: str) -> list[dict[str, Any]]:
        """Return every posting of a request, attempt by attempt."""
        rows: list[dict[str, Any]] = await self._actor.postings.remote(request_id)
        return rows

    async def alerts(self) -> list[Alert]:
        """Return all alerts, the oldest first."""
        told: list[Alert] = await self._actor.alerts.remote()
        return told


class IdempotencyHandle:
    """The Idempotency actor, as a replica's claims see it."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    async def begin(self, claim: Claim) -> Verdict:
        """Judge a claim; safe to repeat."""
        verdict: Verdict = await self._actor.begin.remote(claim)
        return verdict

    async def end(self, endings: tuple[Ending, ...]) -> list[bool]:
        """Return which of these ends count; safe to repeat."""
        counts: list[bool] = await self._actor.end.remote(endings)
        return counts

    async def extend(self, claims: tuple[str, ...]) -> None:
        """Let these runs, by claim id, hold their keys for one more lease."""
        await self._actor.extend.remote(claims)


class LearnerHandle:
    """The Learner actor, as a replica sees it."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    async def note(self, notes: tuple[Note, ...]) -> None:
        """Keep decisions; safe to repeat."""
        await self._actor.note.remote(notes)

    async def watch(self, version: int, wait: float) -> tuple[int, Taught]:
        """Return what is believed once its version is not `version`, or after `wait` seconds."""
        news: tuple[int, Taught] = await self._actor.watch.remote(version, wait)
        return news

    async def decision(self, request_id: str) -> KeptDecision | None:
        """Return a decision; None where it is unknown, or forgotten."""
        found: KeptDecision | None = await self._actor.decision.remote(request_id)
        return found

    async def judge(self, judgement: Judgement) -> JudgementVerdict:
        """Take a score, and learn from it; safe to repeat."""
        verdict: JudgementVerdict = await self._actor.judge.remote(judgement)
        return verdict

    async def operate(self, order: LearningOrder) -> Learning | None:
        """Freeze, resume or roll back; None where the version is not there to go back to."""
        done: Learning | None = await self._actor.operate.remote(order)
        return done

    async def learning(self) -> Learning:
        """Return where learning stands."""
        told: Learning = await self._actor.learning.remote()
        return told

    async def shifts(self) -> Sequence[Shift]:
        """Return all drift that was found, the oldest first."""
        found: Sequence[Shift] = await self._actor.shifts.remote()
        return found

    async def experiments(self) -> Sequence[Run]:
        """Return all runs of experiments as they stand, by name."""
        runs: Sequence[Run] = await self._actor.experiments.remote()
        return runs

    async def operate_experiment(self, order: ExperimentOrder) -> Sequence[Run] | None:
        """Start or stop an experiment and return all; None where there is none of that name."""
        runs: Sequence[Run] | None = await self._actor.operate_experiment.remote(order)
        return runs


class WorkflowsHandle:
    """The Workflows actor, as a replica sees it."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    async def tend(self, webhooks: WebhookSettings) -> None:
        """Take up what is not over, and tell webhooks what is due."""
        await self._actor.tend.remote(webhooks)

    async def create(self, order: Order) -> Begun | None:
        """Begin a run, once per id; None where there is no room."""
        begun: Begun | None = await self._actor.create.remote(order)
        return begun

    async def summary(self, run: str, account: str) -> Summary | None:
        """Return where an account's run stands; None where it has none of that id."""
        found: Summary | None = await self._actor.summary.remote(run, account)
        return found

    async def over(self, run: str, account: str, wait: float) -> Summary | None:
        """Return the same once the run is over, or `wait` seconds passed."""
        found: Summary | None = await self._actor.over.remote(run, account, wait)
        return found

    async def listed(self, query: RunQuery) -> RunPage | None:
        """Return a page of an account's runs; None where `after` is none of them."""
        page: RunPage | None = await self._actor.listed.remote(query)
        return page

    async def analysis(self, query: AnalysisQuery) -> Analysis:
        """Return what workflows that are over came to, all together."""
        told: Analysis = await self._actor.analysis.remote(query)
        return told

    async def events(
        self, run: str, account: str, after: int, wait: float
    ) -> Sequence[Event] | None:
        """Return the events from number `after` on, once there are any or `wait` seconds passed."""
        news: Sequence[Event] | None = await self._actor.events.remote(run, account, after, wait)
        return news

    async def cancel(self, run: str, account: str) -> Summary | None:
        """End a run, where it is not over; return where it stands then."""
        found: Summary | None = await self._actor.cancel.remote(run, account)
        return found


class BatchesHandle:
    """The Batches actor, as a replica sees it."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    async def tend(self) -> None:
        """Take up what is not over, and delete what is old."""
        await self._actor.tend.remote()

    async def write(self, name: str, offset: int, piece: bytes) -> None:
        """Take a piece of a file that is being uploaded."""
        await self._actor.write.remote(name, offset, piece)

    async def discard(self, name: str) -> None:
        """Forget a file whose upload has broken off."""
        await self._actor.discard.remote(name)

    async def keep(self, file: StoredFile) -> bool:
        """Keep a file that was uploaded; False where its account has no room for it."""
        kept: bool = await self._actor.keep.remote(file)
        return kept

    async def file(self, name: str, account: str) -> StoredFile | None:
        """Return an account's file."""
        found: StoredFile | None = await self._actor.file.remote(name, account)
        return found

    async def files(self, account: str, purpose: Purpose | None, page: Page) -> list[StoredFile]:
        """Return an account's files."""
        found: list[StoredFile] = await self._actor.files.remote(account, purpose, page)
        return found

    async def read(self, name: str, account: str, offset: int, size: int) -> bytes | None:
        """Return a piece of an account's file, empty at its end; None where there is none."""
        piece: bytes | None = await self._actor.read.remote(name, account, offset, size)
        return piece

    async def delete(self, name: str, account: str) -> bool | None:
        """Delete an account's file; False where a batch reads it, None where there is none."""
        deleted: bool | None = await self._actor.delete.remote(name, account)
        return deleted

    async def create(self, batch: Batch) -> Batch:
        """Begin a batch, once per id; return the one that came first."""
        begun: Batch = await self._actor.create.remote(batch)
        return begun

    async def batch(self, name: str, account: str) -> Batch | None:
        """Return where an account's batch stands."""
        found: Batch | None = await self._actor.batch.remote(name, account)
        return found

    async def batches(self, account: str, page: Page) -> list[Batch]:
        """Return an account's batches."""
        found: list[Batch] = await self._actor.batches.remote(account, page)
        return found

    async def cancel(self, name: str, account: str) -> Batch | None:
        """Begin no further request of a batch, where it is not over; return where it stands."""
        found: Batch | None = await self._actor.cancel.remote(name, account)
        return found


class BreakerHandle:
    """The Breaker actor, as a replica's circuits see it."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    async def report(self, replica: str, outcomes: tuple[Outcome, ...]) -> None:
        """Count what a replica saw."""
        await self._actor.report.remote(replica, outcomes)

    async def watch(self, version: int, wait: float) -> tuple[int, Mapping[str, CircuitStatus]]:
        """Return all circuits once their version is not `version`, or after `wait` seconds."""
        news: tuple[int, dict[str, CircuitStatus]] = await self._actor.watch.remote(version, wait)
        return news

    async def lease_probe(
        self, endpoint_id: str, replica: str, holding: tuple[Permit, ...]
    ) -> Permit | None:
        """Return a half-open circuit's permit, or None when none is free; renew those held."""
        call = self._actor.lease_probe.remote(endpoint_id, replica, holding)
        permit: Permit | None = await call
        return permit

    async def snapshot(self) -> dict[str, CircuitStatus]:
        """Return every circuit of which there was news."""
        circuits: dict[str, CircuitStatus] = await self._actor.snapshot.remote()
        return circuits

    async def operate(self, endpoint_id: str, action: Action) -> CircuitStatus:
        """Open, close or reset a circuit by hand, and return what it is now."""
        status: CircuitStatus = await self._actor.operate.remote(endpoint_id, action)
        return status


class ProviderHandle:
    """One Provider actor, as a replica's directory sees it."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    async def watch(self, version: int, wait: float) -> tuple[int, ProviderStatus]:
        """Return the status once its version is not `version`, or after `wait` seconds."""
        news: tuple[int, ProviderStatus] = await self._actor.watch.remote(version, wait)
        return news

    async def count(self, model: str, texts: tuple[str, ...]) -> int | None:
        """Return the tokens of `texts`; None for a model whose tokenizer is not known."""
        tokens: int | None = await self._actor.count.remote(model, texts)
        return tokens


class HubHandle:
    """The metrics hub, as a replica sees it."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    async def push(self, replica: str, snapshot: Snapshot) -> None:
        """Take a replica's numbers."""
        await self._actor.push.remote(replica, snapshot)

    async def exposition(self, alerts: Sequence[Alert | Shift]) -> bytes:
        """Return all replicas' metrics, and these alerts, in Prometheus' text format."""
        text: bytes = await self._actor.exposition.remote(alerts)
        return text

    async def summary(self) -> dict[str, object]:
        """Return all replicas' metrics as JSON."""
        numbers: dict[str, object] = await self._actor.summary.remote()
        return numbers
