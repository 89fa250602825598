"""Webhooks out: what happened is told to other systems, signed, until they say that they have it.

`announcing` writes what happened in the transaction of its cause; `delivering` sends it outside of
any. `addresses`, `schedule` and `standard` are rules without I/O; `door` is the way out.
"""
