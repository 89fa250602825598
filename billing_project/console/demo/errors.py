"""Why a demo stops."""


class DemoRefused(RuntimeError):
    """The demo would harm something, or found the books wrong; the message says what."""
