"""What is lost with an unpaid claim: the delivered part is an expense, the rest ends."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from revrec.impairment import Loss, Unpaid, losses, recovery


def test_the_delivered_part_is_lost_and_the_rest_released() -> None:
    # 90.00 over 90 days, 30 of them gone: of the unpaid 90.00 are 30.00 lost and 60.00 released.
    assert losses(9_000, [Unpaid(9_000, 9_000, 3_000)]) == [Loss(3_000, 6_000)]
    # Half of it paid: half of each.
    assert losses(4_500, [Unpaid(9_000, 9_000, 3_000)]) == [Loss(1_500, 3_000)]
    # Overage is delivered before it is claimed; an ungranted pack is not delivered at all.
    lines = [Unpaid(60, 60, 60), Unpaid(900, 900, 0)]
    assert losses(960, lines) == [Loss(60, 0), Loss(0, 900)]


def test_a_recovery_undoes_losses_first() -> None:
    given_up = [Loss(60, 0), Loss(0, 900)]

    assert recovery(50, given_up) == [Loss(50, 0), Loss(0, 0)]
    assert recovery(160, given_up) == [Loss(60, 0), Loss(0, 100)]
    assert recovery(960, given_up) == given_up


@st.composite
def _claims(draw: st.DrawFn) -> tuple[int, list[Unpaid]]:
    lines = []
    for _ in range(draw(st.integers(1, 5))):
        price = draw(st.integers(1, 10**9))
        lines.append(Unpaid(price, price, draw(st.integers(0, price))))
    total = sum(line.claimed_minor for line in lines)
    return draw(st.integers(1, total)), lines


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(_claims())
def test_losses_sum_to_what_is_unpaid_and_release_no_more_than_is_owed(
    claim: tuple[int, list[Unpaid]],
) -> None:
    unpaid, lines = claim
    parts = losses(unpaid, lines)

    assert sum(part.impaired_minor + part.released_minor for part in parts) == unpaid
    for part, line in zip(parts, lines, strict=True):
        assert 0 <= part.released_minor <= line.price_minor - line.recognised_minor
        assert part.impaired_minor >= 0
    back = recovery(unpaid, parts)
    assert back == parts
