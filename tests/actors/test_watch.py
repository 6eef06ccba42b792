import asyncio

from compass_ray.actors.watch import Versioned


async def test_a_follower_with_an_old_version_is_answered_at_once():
    value = Versioned("a")

    assert await value.wait(0, 60.0) == (value.version, "a")


async def test_everyone_who_waits_hears_of_a_change():
    value = Versioned("a")
    waiting = [asyncio.create_task(value.wait(value.version, 60.0)) for _ in range(3)]
    await asyncio.sleep(0)

    value.set("b")

    assert await asyncio.gather(*waiting) == [(value.version, "b")] * 3


async def test_a_wait_without_a_change_ends_with_the_same_version():
    value = Versioned("a")

    assert await value.wait(value.version, 0.0) == (value.version, "a")


async def test_two_changes_between_two_waits_are_one_answer_with_the_latest():
    value = Versioned("a")
    known = value.version
    value.set("b")
    value.set("c")

    assert await value.wait(known, 60.0) == (known + 2, "c")


def test_a_restarted_value_has_versions_of_its_own():
    first = Versioned("a", wall=lambda: 1000.0)
    for value in "bcd":
        first.set(value)

    assert Versioned("a", wall=lambda: 1001.4).version > first.version
