"""The hash chain: one hash for one content, another for any other."""

from datetime import UTC, date, datetime, timedelta, timezone

from hypothesis import given, settings
from hypothesis import strategies as st

from revrec.chain import GENESIS, Field, entry_sha256

ENTRY: list[Field] = [
    1,
    date(2026, 11, 1),
    "fees_earned",
    "Fees",
    None,
    datetime(2026, 11, 2, 9, tzinfo=UTC),
]
POSTINGS: list[list[Field]] = [[1, "2120", 158, "USD", None], [2, "4000", -158, "USD", None]]

fields = st.one_of(st.none(), st.integers(), st.text(max_size=8))


def test_the_same_content_has_the_same_hash() -> None:
    assert entry_sha256(GENESIS, ENTRY, POSTINGS) == entry_sha256(GENESIS, ENTRY, POSTINGS)


def test_instants_are_hashed_in_utc() -> None:
    there = datetime(2026, 11, 2, 10, tzinfo=timezone(timedelta(hours=1)))

    assert entry_sha256(GENESIS, [*ENTRY[:5], there], POSTINGS) == entry_sha256(
        GENESIS, ENTRY, POSTINGS
    )


def test_the_entry_before_takes_part() -> None:
    assert entry_sha256("1" * 64, ENTRY, POSTINGS) != entry_sha256(GENESIS, ENTRY, POSTINGS)


def test_absent_and_empty_differ() -> None:
    assert entry_sha256(GENESIS, [None], []) != entry_sha256(GENESIS, [""], [])
    assert entry_sha256(GENESIS, ["-"], []) != entry_sha256(GENESIS, [None], [])


def test_fields_cannot_run_into_one_another() -> None:
    assert entry_sha256(GENESIS, ["ab", "c"], []) != entry_sha256(GENESIS, ["a", "bc"], [])
    assert entry_sha256(GENESIS, [], [["a"], ["b"]]) != entry_sha256(GENESIS, [], [["a", "b"]])


@settings(max_examples=80, deadline=None)
@given(
    st.lists(fields, max_size=4), st.lists(st.lists(fields, max_size=3), max_size=3),
    st.lists(fields, max_size=4), st.lists(st.lists(fields, max_size=3), max_size=3),
)  # fmt: skip
def test_other_contents_have_other_hashes(
    entry: list[str | int | None],
    postings: list[list[str | int | None]],
    other: list[str | int | None],
    others: list[list[str | int | None]],
) -> None:
    def written(values: list[str | int | None]) -> list[str | None]:
        return [None if value is None else str(value) for value in values]

    same = written(entry) == written(other) and [*map(written, postings)] == [*map(written, others)]

    assert (entry_sha256(GENESIS, entry, postings) == entry_sha256(GENESIS, other, others)) is same
