"""Every example is run by a test that names it."""

import re
from pathlib import Path

from tests.revrec.vectors import VECTORS


def test_every_vector_has_a_test_that_reads_it() -> None:
    texts = [path.read_text() for path in Path(__file__).parent.glob("test_*.py")]
    read = set(re.findall(r'"([A-Z]{2,3}[A-Z0-9]*-[0-9]+[A-Z]?)"', "\n".join(texts)))

    assert len(VECTORS) == 68
    assert set(VECTORS) - read == set()


def test_every_vector_names_its_source_and_what_is_known_of_it() -> None:
    for vector in VECTORS.values():
        assert vector["source"]
        assert vector["confidence"]
