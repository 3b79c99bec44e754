"""When messages go out: the state machine, quiet hours, caps, pauses."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notifications.rules import messages as rules
from services.notifications.rules.messages import TEMPLATES, Decision, Preferences
from shared.runtime.clock import LOCAL

#: Noon and eleven at night in Asia/Shanghai.
NOON = datetime(2026, 8, 20, 4, 0, tzinfo=UTC)
NIGHT = datetime(2026, 8, 20, 15, 0, tzinfo=UTC)


def a_look(**changes: Any) -> dict[str, Any]:
    """Return what `decide` is told of a message that nothing stands in the way of."""
    return {
        "template": TEMPLATES["order_confirmed"],
        "preferences": Preferences(),
        "status": "queued",
        "happened_at": NOON,
        "moment": NOON,
        "attempts": 0,
        "complete": True,
        "settled": False,
        "channels": ("file",),
        "sent_today": 0,
        "blocked": None,
        "cap": rules.Cap(40, "daily_cap"),
    } | changes


def judged(**changes: Any) -> Decision:
    look = a_look(**changes)
    return rules.decide(look.pop("template"), look.pop("preferences"), **look)


def test_a_message_with_nothing_in_its_way_is_claimed_for_the_length_of_a_lease():
    assert judged() == Decision("sending", NOON + rules.LEASE)


@pytest.mark.parametrize(
    ("changes", "status", "reason"),
    [
        ({"happened_at": NOON - timedelta(days=3)}, "stale", "too_late"),
        ({"happened_at": NOON - timedelta(days=3), "complete": False}, "dead", "unknown"),
        ({"complete": False}, "queued", "incomplete"),
        ({"channels": ()}, "suppressed", "switched_off"),
        ({"blocked": "costly_number"}, "suppressed", "costly_number"),
        ({"blocked": "costly_number", "attempts": 1, "status": "retrying"}, "sending", None),
        ({"sent_today": 40}, "suppressed", "daily_cap"),
        ({"sent_today": 40, "attempts": 1, "status": "retrying"}, "sending", None),
        ({"template": TEMPLATES["collection_code"], "sent_today": 40}, "sending", None),
        ({"template": TEMPLATES["collection_code"], "sent_today": 80}, "suppressed", "daily_cap"),
        ({"template": TEMPLATES["payment_requested"], "settled": True}, "stale", "overtaken"),
        ({"template": TEMPLATES["payment_requested"]}, "sending", None),
        ({"settled": True}, "sending", None),
        ({"attempts": rules.ATTEMPTS, "status": "sending"}, "dead", "attempts_used_up"),
        ({"moment": NIGHT}, "queued", "quiet_hours"),
        ({"moment": NIGHT, "template": TEMPLATES["collection_code"]}, "sending", None),
        ({"moment": NIGHT, "preferences": Preferences(quiet_from=0, quiet_to=0)}, "sending", None),
    ],
)
def test_what_stands_in_the_way_of_a_message(changes, status, reason):
    decision = judged(**changes)

    assert (decision.status, decision.reason) == (status, reason)


def test_an_incomplete_message_is_looked_at_less_and_less_often():
    ages = (timedelta(0), timedelta(seconds=30), timedelta(hours=5))

    pauses = []
    for age in ages:
        decision = judged(complete=False, happened_at=NOON - age)
        assert decision.due_at is not None
        pauses.append(decision.due_at - NOON)

    assert pauses == [rules.FIRST_WAIT, timedelta(seconds=30), rules.LONGEST_WAIT]


def local(hour: int, minute: int = 0, day: int = 20) -> datetime:
    return datetime(2026, 8, day, hour, minute, tzinfo=LOCAL)


@pytest.mark.parametrize(
    ("quiet", "moment", "until"),
    [
        ((22 * 60, 7 * 60), local(21, 59), None),
        ((22 * 60, 7 * 60), local(22, 0), local(7, 0, 21)),
        ((22 * 60, 7 * 60), local(0, 30), local(7, 0)),
        ((22 * 60, 7 * 60), local(6, 59), local(7, 0)),
        ((22 * 60, 7 * 60), local(7, 0), None),
        ((12 * 60, 14 * 60 + 30), local(13, 0), local(14, 30)),
        ((12 * 60, 14 * 60 + 30), local(14, 30), None),
        ((600, 600), local(10, 0), None),
    ],
)
def test_quiet_hours_end_at_their_time_in_shanghai(quiet, moment, until):
    preferences = Preferences(quiet_from=quiet[0], quiet_to=quiet[1])

    assert rules.quiet_until(preferences, moment) == until


@given(
    start=st.integers(0, 1439),
    end=st.integers(0, 1439),
    moment=st.datetimes(
        datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC), allow_imaginary=False
    ),
)
def test_quiet_hours_end_within_a_day_and_outside_of_themselves(start, end, moment):
    preferences = Preferences(quiet_from=start, quiet_to=end)

    until = rules.quiet_until(preferences, moment)

    if until is not None:
        assert timedelta(0) < until - moment <= timedelta(days=1)
        assert rules.quiet_until(preferences, until) is None


def test_pauses_double_up_to_a_limit():
    decisions = [
        rules.after_attempt(n, NOON, missing=["gateway_refused"], hopeless=False)
        for n in range(1, rules.ATTEMPTS)
    ]
    pauses = [each.due_at - NOON for each in decisions]

    assert pauses[:3] == [timedelta(seconds=s) for s in (30, 60, 120)]
    assert max(pauses) <= rules.LONGEST_PAUSE
    assert pauses == sorted(pauses)


@pytest.mark.parametrize(
    ("attempts", "missing", "hopeless", "expected"),
    [
        (1, [], True, Decision("sent")),
        (1, ["gateway_refused"], False, Decision("retrying", NOON + timedelta(seconds=30))),
        (1, ["phone_malformed"], True, Decision("dead", reason="refused")),
        (8, ["gateway_refused"], False, Decision("dead", reason="attempts_used_up")),
    ],
)
def test_what_follows_an_attempt(attempts, missing, hopeless, expected):
    decision = rules.after_attempt(attempts, NOON, missing=missing, hopeless=hopeless)

    assert decision == expected


@pytest.mark.parametrize("status", rules.STATUSES)
@pytest.mark.parametrize("following", rules.STATUSES)
def test_only_drawn_arrows_are_walked(status, following):
    if following in rules.TRANSITIONS[status]:
        assert rules.transition(status, following) == following
    else:
        with pytest.raises(rules.IllegalTransition, match=status):
            rules.transition(status, following)


def test_final_states_have_no_arrow_back():
    for status in ("stale", "dead", "suppressed", "delivered"):
        assert not rules.TRANSITIONS[status]


@pytest.mark.parametrize(
    ("tags", "language"),
    [
        (("bo", "en"), "bo"),
        ((None, "zh-CN"), "zh"),
        ((None, "EN_us"), "en"),
        (("fr", "bo"), "bo"),
        ((None, None), "zh"),
        (("fr",), "zh"),
    ],
)
def test_the_first_language_we_have_is_used(tags, language):
    assert rules.language_of(*tags) == language


@pytest.mark.parametrize("minute", [0, 1, 61, 1439])
def test_minutes_and_clock_times_are_the_same(minute):
    assert rules.minute_of(rules.clock_time(minute)) == minute
