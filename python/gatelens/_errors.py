"""What goes wrong."""


class GatelensError(Exception):
    """The program ended with an error, or a run's folder lacks what was asked for. The message says what to do."""
