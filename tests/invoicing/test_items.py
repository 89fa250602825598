"""Items of plan versions, as plain values."""

import pytest

from invoicing.items import BadItem, Item, content_of_item, refuse_unsound

COMMIT = Item("commit", "minimum", "Monthly minimum", 87_500, kinds=("overage",))


def test_a_sound_item_passes() -> None:
    refuse_unsound([COMMIT])
    refuse_unsound([])


@pytest.mark.parametrize(
    ("item", "says"),
    [
        (Item("commit", "Minimum", "M", 1, kinds=("overage",)), "small letters"),
        (Item("commit", "minimum", " ", 1, kinds=("overage",)), "a name has"),
        (Item("wish", "minimum", "M", 1), "its kind is one of"),
        (Item("commit", "minimum", "M", 0, kinds=("overage",)), "more than nothing"),
        (Item("commit", "minimum", "M", -1, kinds=("overage",)), "at least 0"),
        (Item("commit", "minimum", "M", 10**15, kinds=("overage",)), "less than 10\\^15"),
        (Item("commit", "minimum", "M", 1, periods=0, kinds=("overage",)), "at least one period"),
        (Item("commit", "minimum", "M", 1, periods=121, kinds=("overage",)), "at most 120"),
        (Item("commit", "minimum", "M", 1), "counts lines of these kinds"),
        (Item("commit", "minimum", "M", 1, kinds=("commit_shortfall",)), "counts lines of these"),
        (Item("commit", "minimum", "M", 1, kinds=("overage", "overage")), "each once"),
        (Item("commit", "minimum", "M", 1, timing="arrears", kinds=("overage",)), "its timing"),
    ],
)
def test_an_unsound_item_is_refused_with_what_is_wrong(item: Item, says: str) -> None:
    with pytest.raises(BadItem, match=says):
        refuse_unsound([item])


def test_two_commits_or_two_equal_codes_are_refused() -> None:
    other = Item("commit", "second", "Another", 1, kinds=("overage",))

    with pytest.raises(BadItem, match="one commit item"):
        refuse_unsound([COMMIT, other])
    with pytest.raises(BadItem, match="two items are called minimum"):
        refuse_unsound([COMMIT, COMMIT])


def test_the_content_of_an_item_names_what_its_kind_uses() -> None:
    assert content_of_item(COMMIT) == {
        "kind": "commit", "code": "minimum", "name": "Monthly minimum", "amount_minor": 87_500,
        "periods": 1, "kinds": ["overage"],
    }  # fmt: skip
