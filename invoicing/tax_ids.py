"""Whether a tax id has the form of its kind; whose it is, only its registry knows.

Check digits are counted by python-stdnum, which needs no network for that.
"""

from collections.abc import Callable
from typing import Any

from stdnum.au import abn
from stdnum.ca import bn
from stdnum.ch import vat as ch_vat
from stdnum.eu import vat as eu_vat
from stdnum.exceptions import ValidationError
from stdnum.gb import vat as gb_vat
from stdnum.in_ import gstin
from stdnum.jp import cn
from stdnum.no import mva
from stdnum.nz import ird
from stdnum.us import ein

_Check = Callable[[str], Any]
_CHECKS: dict[str, tuple[str, _Check]] = {
    "eu_vat": ("", eu_vat.validate),  # The number names its country itself.
    "gb_vat": ("GB", gb_vat.validate),
    "ch_vat": ("CH", ch_vat.validate),
    "no_vat": ("NO", mva.validate),
    "us_ein": ("US", ein.validate),
    "ca_bn": ("CA", bn.validate),
    "au_abn": ("AU", abn.validate),
    "nz_gst": ("NZ", ird.validate),
    "in_gstin": ("IN", gstin.validate),
    "jp_cn": ("JP", cn.validate),
}
_GREEK = {"EL": "GR"}  # VAT numbers of Greece do not use its country code.
_NORTHERN_IRELAND = "XI"


class BadTaxId(ValueError):
    """A tax id does not have the form of its kind; the message says what it should look like."""


def normalized(kind: str, value: str) -> str:
    """Return a tax id in its compact form.

    Raises:
        BadTaxId: an unknown kind, or a wrong form or check digit.
    """
    if kind not in _CHECKS:
        raise BadTaxId(f"a tax id is one of {', '.join(_CHECKS)}")
    try:
        return str(_CHECKS[kind][1](value))
    except ValidationError as error:
        raise BadTaxId(f"{value!r} is no {kind.replace('_', ' ')}: {error}") from error


def country_of(kind: str, value: str) -> str:
    """Return the country that a normalized tax id is of."""
    prefix = value[:2].upper()
    return _CHECKS[kind][0] or ("GB" if prefix == _NORTHERN_IRELAND else _GREEK.get(prefix, prefix))
