"""Move usage between windows: take the old reading of events away and add the new one.

Every window that loses or gains is locked first, by its key; then the differences are added; then
windows of max, min, last and unique are read anew, and levels settled.
"""

from collections.abc import Sequence
from datetime import datetime

from django.db import connection

from metering.adding_sql import select_additions
from metering.aggregation import MeterRule
from metering.reading_sql import Params
from metering.services.levels import settle_levels
from metering.services.windows import Touched, add_to_windows, reread_windows

# The same events, adding nothing: what is only locked, and made where it is missing.
_TOUCH = """
SELECT id, customer_id, workspace_id, event_name, identifier, "timestamp", properties, 0 AS sign,
       batch_id
FROM ({source}) moved
"""
_MOVE = """
WITH used AS ({source}), reading AS ({readings})
UPDATE usage_window w
SET quantity = w.quantity + d.quantity, event_count = w.event_count + d.event_count
FROM reading d
WHERE w.customer_id = d.customer_id AND w.meter_id = d.meter_id AND w.start_at = d.start_at
  AND w.workspace_id IS NOT DISTINCT FROM d.workspace_id AND w.dimensions = d.dimensions::jsonb
"""


def move_usage(
    source: str, params: Params, rules: Sequence[MeterRule], at: datetime
) -> list[Touched]:
    """Correct the windows of events whose readings changed.

    Args:
        source: A SELECT with the columns that `reading_sql` names: each event with what it said
            (sign -1) and with what it says (sign 1).
    """
    touch = _TOUCH.format(source=source)
    touched = add_to_windows(touch, params, rules, at)
    readings = select_additions([rule for rule in rules if rule.is_additive], "used")
    if readings.text:
        text = _MOVE.format(source=source, readings=readings.text)
        with connection.cursor() as cursor:
            cursor.execute(text, {**readings.params, **params})
    reread_windows(touched, rules)
    return touched + settle_levels(touch, params, rules, at)
