"""Published worked examples that the rules are held against; each names its source."""

import json
from pathlib import Path
from typing import Any

_PATH = Path(__file__).parent / "vectors.json"
VECTORS: dict[str, dict[str, Any]] = {
    vector["id"]: vector for vector in json.loads(_PATH.read_text())
}
