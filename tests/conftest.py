pytest_plugins = [
    "tests.support.serving",
    "tests.support.fixtures",
    "tests.support.systems",
]
