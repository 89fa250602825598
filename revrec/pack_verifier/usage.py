"""From raw events to usage windows: what counts, for which meter, with which value."""

from collections import defaultdict
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, ROUND_UP, Decimal

from .pack import ZERO, moment, number, read_json

ROUNDINGS = {
    "half_even": ROUND_HALF_EVEN, "half_up": ROUND_HALF_UP, "up": ROUND_UP, "down": ROUND_DOWN,
}  # fmt: skip


def check_events(pack):
    """Each identifier of a customer is one event; it counts as its corrections say."""
    newest, said, faults = {}, {}, []
    for row in pack.rows("adjustments"):
        key = (row["customer"], row["identifier"])
        if key not in newest or int(row["id"]) > int(newest[key]["id"]):
            newest[key] = row
    for row in pack.rows("events"):
        key = (row["customer"], row["identifier"])
        if key in said:
            faults.append(f"event {key} is there twice")
        change = newest.get(key)
        is_cancelled = change is not None and change["type"] == "cancel"
        amended = change["properties"] if change is not None else ""
        counts = read_json(amended or row["properties"])
        if is_cancelled != (row["is_cancelled"] == "true"):
            faults.append(f"event {key} is cancelled against what its corrections say")
        elif not is_cancelled and counts != read_json(row["counted_properties"]):
            faults.append(f"event {key} counts otherwise than its corrections say")
        said[key] = None if is_cancelled else (row, counts)
    pack.note("events are there once, and count as corrected", len(said), faults)
    return said


def check_readings(pack, said):
    """Every value that counts is what its event says to its meter, in the event's own hour."""
    windows = {row["id"]: row for row in pack.rows("windows")}
    meters = defaultdict(list)
    for row in pack.rows("meters"):
        row["filters"], row["dimensions"] = read_json(row["filters"]), read_json(row["dimensions"])
        meters[row["meter"]].append(row)
    values, seen, faults = defaultdict(list), set(), []
    for row in pack.rows("readings"):
        key, window = (row["customer"], row["identifier"]), windows.get(row["window"])
        if window is None or window["customer"] != row["customer"]:
            faults.append(f"{key} is read into window {row['window']}, which is not its own")
        elif said.get(key) is None:
            faults.append(f"{key} is read, but there is no such event that counts")
        elif (window["meter"], key) in seen:
            faults.append(f"{key} is read twice by {window['meter']}")
        elif not says(said[key], row["value"], window, meters[window["meter"]]):
            faults.append(f"{key} is read as {row['value']}, which the event does not say")
        else:
            event = said[key][0]
            place = (moment(event["timestamp"]), event["identifier"].encode())
            values[row["window"]].append((place, row["value"]))
        seen.add((window["meter"] if window else "", key))
    faults += unread(pack, said, seen, windows, meters)
    pack.note("values are what their events say", len(seen), faults)
    return windows, meters, values


def unread(pack, said, seen, windows, meters):
    """Yield events that a meter asks for, in an hour that has a window of it, and does not read."""
    hours = {(one["customer"], one["meter"], moment(one["start_at"])) for one in windows.values()}
    for key, event in said.items():
        if event is None:
            continue
        row, found = event
        for meter, versions in meters.items():
            version = governing(versions, moment(row["timestamp"]))
            if (row["customer"], meter, hour_of(row)) not in hours or (meter, key) in seen:
                continue
            if version and asks(version, row, found) and value_of(version, found) is not None:
                yield f"{key} counts for {meter}, and is not read"


def hour_of(row):
    return moment(row["timestamp"]).replace(minute=0, second=0, microsecond=0)


def governing(versions, at):
    """Return the version of a meter that reads an instant; the newest of those that began."""
    begun = [
        one for one in versions if not one["effective_at"] or moment(one["effective_at"]) <= at
    ]
    return begun[-1] if begun and begun[-1]["is_active"] == "true" else None


def as_text(found, name):
    """Return a property as text, None where there is none; as a database writes JSON's scalars."""
    value = found.get(name)
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def asks(version, row, found):
    """Tell whether a version of a meter looks at an event."""
    if row["event_name"] != version["event_name"]:
        return False
    for one in version["filters"]:
        text, operator = as_text(found, one["property"]), one["operator"]
        wanted = one.get("value")
        among = [str(each) for each in (wanted if isinstance(wanted, list) else [wanted])]
        passes = {
            "eq": text in among, "in": text in among, "ne": text not in among,
            "exists": text is not None, "absent": text is None,
        }  # fmt: skip
        if not passes[operator]:
            return False
    return True


def value_of(version, found):
    """Return the value that a version reads, None where there is none; rounded as it says."""
    if version["aggregation"] == "count":
        return Decimal(1)
    said = found.get(version["value_property"])
    if version["aggregation"] == "unique":
        return None if said is None else said
    try:
        value = Decimal(version["constant_value"] or str(said))
    except ArithmeticError:
        return None
    if version["aggregation"] == "time_weighted_sum" or int(version["rounding_decimals"]) == 12:
        return value
    step = Decimal(1).scaleb(-int(version["rounding_decimals"]))
    return value.quantize(step, ROUNDINGS[version["rounding_mode"]])


def says(event, value, window, versions):
    """Tell whether an event gives a value to a window's meter, in the window's hour and part."""
    row, found = event
    version = governing(versions, moment(row["timestamp"]))
    if version is None or not asks(version, row, found):
        return False
    if hour_of(row) != moment(window["start_at"]) or row["workspace"] != window["workspace"]:
        return False
    parts = read_json(window["dimensions"])
    if any(as_text(found, name) != parts.get(name) for name in version["dimensions"]):
        return False
    read = value_of(version, found)
    if version["aggregation"] == "unique":  # The database's own text of lists stays out of it.
        return isinstance(read, (list, dict)) or as_text({"value": read}, "value") == value
    return read is not None and read == Decimal(value)


def total(aggregation, values):
    """Aggregate (place, value) pairs as a meter of this kind does."""
    if aggregation == "unique":
        return Decimal(len({value for _, value in values}))
    numbers = [Decimal(value) for _, value in values]
    if aggregation in ("sum", "count"):
        return sum(numbers, ZERO)
    if aggregation == "last":
        return Decimal(max(values)[1]) if values else ZERO
    return (max if aggregation == "max" else min)(numbers, default=ZERO)


def check_windows(pack, windows, meters, values):
    """The values of a window's events come to its quantity."""
    faults, aside = [], 0
    for pk, window in windows.items():
        kind = meters[window["meter"]][0]["aggregation"]
        if kind == "time_weighted_sum":
            aside += 1
            continue
        count, again = len(values[pk]), total(kind, values[pk])
        if count != int(window["event_count"]):
            faults.append(f"window {pk} counts {window['event_count']} events, not {count}")
        if again != number(window["quantity"]):
            faults.append(f"window {pk} comes to {again}, not {window['quantity']}")
    left = f"{aside} time-weighted windows are left aside" if aside else ""
    pack.note("windows come to what their events say", len(windows) - aside, faults, left)
