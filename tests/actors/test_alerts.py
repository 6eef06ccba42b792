"""The messenger against a real webhook, and in the Ledger."""

import asyncio

import pytest

from compass_ray.actors.alerts import Messenger
from compass_ray.actors.ledger import LedgerActor
from compass_ray.types.accounts import Account, Limit
from compass_ray.types.events import Reservation, Settlement
from compass_ray.types.money import Alert, Sync
from compass_ray.types.settings import AlertSettings
from compass_ray.types.usage import Usage

ACCOUNTS = {"a": Account("a", None, (Limit(100),)), "b": Account("b", "a")}


class Waiting:
    """Alerts in memory."""

    def __init__(self, *percents):
        self.alerts = [Alert("a@lifetime", "a", "usd", p, p, 100, 1.0) for p in percents]
        self.told = asyncio.Event()

    async def undelivered(self):
        return list(self.alerts)

    async def delivered(self, alert):
        self.alerts.remove(alert)
        if not self.alerts:
            self.told.set()


async def test_without_a_webhook_the_log_is_told(caplog):
    waiting = Waiting(50, 75)

    Messenger(waiting).look()
    await waiting.told.wait()

    assert [record.message for record in caplog.records] == [
        "account 'a' has used 50 % of its usd: 50 of 100 in lifetime",
        "account 'a' has used 75 % of its usd: 75 of 100 in lifetime",
    ]


@pytest.mark.server
async def test_a_webhook_gets_each_alert_until_it_accepts(webhook, caplog):
    waits = []

    async def sleep(seconds):
        waits.append(seconds)

    webhook.answers = [500, 301, 429]
    waiting = Waiting(50, 75)
    messenger = Messenger(waiting, sleep)
    messenger.webhook = webhook.url

    messenger.look()
    await waiting.told.wait()

    assert [event["percent"] for event in webhook.got] == [50, 50, 50, 50, 75]
    assert {event["id"] for event in webhook.got} == {"a@lifetime/50/100", "a@lifetime/75/100"}
    assert waits == [1.0, 2.0, 4.0]
    assert sum("has used" in record.message for record in caplog.records) == 2


@pytest.mark.server
async def test_a_webhook_that_is_not_there_is_asked_again(webhook):
    url, waits = webhook.url, []
    waiting = Waiting(50)
    messenger = Messenger(waiting)

    async def sleep(seconds):
        waits.append(seconds)
        messenger.webhook = url

    messenger._sleep = sleep
    messenger.webhook = "http://127.0.0.1:1/hook"
    messenger.look()
    await waiting.told.wait()

    assert waits == [1.0]
    assert len(webhook.got) == 1


@pytest.mark.server
async def test_every_threshold_is_told_once_however_often_the_ledger_restarts(tmp_path, webhook):
    alerts = AlertSettings((50, 75, 90), webhook.url)

    async def spend(first, count):
        ledger = LedgerActor(tmp_path / "l.db", ACCOUNTS, alerts.percents)
        await ledger.configure(ACCOUNTS, alerts)
        for n in range(first, first + count):
            reservation = Reservation(f"q{n}/0", ("b@lifetime", "a@lifetime"), 10, 1.0)
            paid = Settlement(reservation, "settled", 10, "p", "m", Usage(1, 1), 2.0)
            await ledger.sync(Sync("r", n, (paid,)))
        while await ledger.undelivered():
            pass
        return ledger

    await spend(1, 8)
    ledger = await spend(9, 4)

    assert [(event["account"], event["percent"]) for event in webhook.got] == [
        ("a", 50),
        ("a", 75),
        ("a", 90),
    ]
    assert [alert.percent for alert in await ledger.alerts()] == [50, 75, 90]
