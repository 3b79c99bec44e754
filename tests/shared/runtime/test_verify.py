"""What a service lists of the differences that it found in its own rows."""

from collections import Counter

from shared.runtime.verify import Difference, Report


def test_a_check_with_many_differences_hides_no_other_check() -> None:
    report = Report("orders", {})

    report.add(
        Difference(check, {"order_id": number}, "1 fen", "2 fen", "They differ.")
        for number, check in enumerate([*["order_total"] * 203, "order_refunded"])
    )

    listed = Counter(each.check for each in report.differences)
    assert listed == {"order_total": 200, "order_refunded": 1}
    assert report.notes == ["3 more of order_total are not listed."]
