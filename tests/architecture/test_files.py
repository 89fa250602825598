"""Nothing that is written down ties the project to one machine or index."""

import re
import subprocess
from pathlib import Path

from django.conf import settings

ROOT = Path(settings.BASE_DIR)


def _tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    names = [name for name in listed.stdout.decode().split("\0") if name]
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def test_no_index_address_and_no_path_of_a_machine() -> None:
    pattern = re.compile(
        r"https?://[^ ]*(?:py" r"pi|python" r"hosted|npm" r"js)"
        r"|(?<![\w.~/-])/(?:ro" r"ot|ho" r"me|wo" r"rk)/\w"
    )  # fmt: skip
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for path in _tracked()
        if path.suffix not in {".csv", ".png"}
        and (match := pattern.search(path.read_text(errors="replace")))
    ]

    assert found == []


def test_requirements_are_exact_and_hashed() -> None:
    text = (ROOT / "requirements.txt").read_text()
    packages = re.findall(r"^[a-z0-9][^ \n]*", text, re.MULTILINE)

    assert packages
    assert all("==" in package for package in packages)
    assert text.count("--hash=sha256:") >= len(packages)
    assert "index-url" not in text
