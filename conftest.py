"""For tests and scenarios alike."""

pytest_plugins = ["pytest_shown"]
