"""What all tests share."""

import signal

# A shell that starts the tests in its background ignores Ctrl-C for them and what they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
