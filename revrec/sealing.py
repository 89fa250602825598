"""Seal what the chains have come to: a manifest, signed with a key that lies outside the database.

Pure: keys and files come and go as text. A file holds the manifest, its Ed25519 signature over the
manifest's canonical JSON (RFC 8032), and the public key; who checks it brings a key they trust.
"""

import json
from base64 import b64decode, b64encode
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from billing_project.kernel.canonical import canonical_json
from revrec.chain import VERSION
from revrec.links import Head

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

FORMAT = "ledger-seal-2"
ONE_CHAIN = (
    "ledger-seal-1"  # Of before each legal entity had a chain: it says one head, the main's.
)


class BadSeal(ValueError):
    """A file is no seal, is signed by somebody else, or was changed after it was signed."""


@dataclass(frozen=True)
class CurrencyTotal:
    """All debits and all credits of a chain in one currency, in minor units, both >= 0."""

    currency: str
    debit_minor: int
    credit_minor: int


@dataclass(frozen=True)
class Contents:
    """What a legal entity's chain holds up to its head."""

    code: str
    head: Head
    posting_count: int
    totals: Sequence[CurrencyTotal]

    def as_json(self) -> dict[str, object]:
        """Return head, counts and totals; amounts as text, which no reader rounds."""
        return {
            "head": {"position": self.head.position, "sha256": self.head.sha256},
            "entry_count": self.head.position,
            "posting_count": self.posting_count,
            "totals_minor": {
                total.currency: {
                    "debits": str(total.debit_minor),
                    "credits": str(total.credit_minor),
                }
                for total in self.totals
            },
        }


def manifest_text(
    *,
    entity: str,
    period: tuple[date, date],
    trial_balance_sha256: str,
    chains: Iterable[Contents],
    at: datetime,
) -> str:
    """Write what is signed, as canonical JSON.

    Args:
        entity: What the main legal entity is called.
        period: First day of the month that was closed, and the first after it.
        chains: Of every legal entity, whether anything was posted for it or not.
    """
    return canonical_json(
        {
            "format": FORMAT,
            "chain_format": VERSION,
            "entity": entity,
            "period": {"start_on": period[0].isoformat(), "end_on": period[1].isoformat()},
            "trial_balance_sha256": trial_balance_sha256,
            "created_at": at,
            "chains": {contents.code: contents.as_json() for contents in chains},
        }
    )


def chains_of(manifest: Mapping[str, Any], main: str) -> Mapping[str, Mapping[str, Any]]:
    """Return what a manifest says of each chain, by its legal entity's code.

    Args:
        main: Code of the main entity, of which a manifest with one head speaks.
    """
    if manifest["format"] == ONE_CHAIN:
        return {main: manifest}
    chains: Mapping[str, Mapping[str, Any]] = manifest["chains"]
    return chains


def head_of(chain: Mapping[str, Any]) -> Head:
    """Return the head that a manifest says of a chain."""
    return Head(int(chain["head"]["position"]), str(chain["head"]["sha256"]))


def new_key() -> bytes:
    """Make a private key, as PEM (PKCS 8, unencrypted)."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def public_key_of(pem: bytes) -> str:
    """Return the public key of a private or public key's PEM: 32 bytes in base64.

    Raises:
        BadSeal: it is no PEM of an Ed25519 key.
    """
    from cryptography.hazmat.primitives.asymmetric import ed25519
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    if b"PRIVATE KEY" in pem:
        return _text(_private(pem).public_key().public_bytes_raw())
    try:
        key = load_pem_public_key(pem)
    except ValueError as error:
        raise BadSeal("the file holds no key") from error
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise BadSeal("the key is not an Ed25519 key")
    return _text(key.public_bytes_raw())


def public_pem(pem: bytes) -> bytes:
    """Return the public half of a private key, as PEM."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return _private(pem).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def sign(text: str, pem: bytes) -> str:
    """Sign a manifest's text with a private key; return the signature in base64."""
    return _text(_private(pem).sign(text.encode()))


def is_signed(text: str, signature: str, public_key: str) -> bool:
    """Tell whether a signature over a text was made with the private half of a key."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        key = Ed25519PublicKey.from_public_bytes(b64decode(public_key, validate=True))
        key.verify(b64decode(signature, validate=True), text.encode())
    except (InvalidSignature, ValueError):
        return False
    return True


def file_text(manifest: str, signature: str, public_key: str) -> str:
    """Write a seal as the file that leaves the house."""
    seal = {"manifest": json.loads(manifest), "signature": signature, "public_key": public_key}
    return json.dumps(seal, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def opened(text: str, trusted: Collection[str]) -> Mapping[str, Any]:
    """Return the manifest of a seal's file after checking its signature.

    Args:
        trusted: Public keys in base64; what the file says of its own key proves nothing.

    Raises:
        BadSeal: the file is no seal, or none of the keys signed it.
    """
    try:
        seal = json.loads(text)
        manifest, signature = seal["manifest"], str(seal["signature"])
        is_seal = manifest["format"] in (FORMAT, ONE_CHAIN)
    except (ValueError, KeyError, TypeError) as error:
        raise BadSeal("the file is no seal of the ledger") from error
    if not is_seal:
        raise BadSeal(f"the seal has format {manifest['format']}, not {FORMAT}")
    if not any(is_signed(canonical_json(manifest), signature, key) for key in trusted):
        raise BadSeal("the signature is not by a trusted key, or the manifest was changed")
    return dict(manifest)


def _private(pem: bytes) -> "Ed25519PrivateKey":
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise BadSeal("the file holds no readable private key") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise BadSeal("the key is not an Ed25519 key")
    return key


def _text(content: bytes) -> str:
    return b64encode(content).decode()
