"""What all tests share: fixtures (a pytest plugin) and real servers to test against."""

from uuid import UUID

#: Nobody's id. Where it is part of a test's name, the name must be the same in each run.
UNKNOWN_ID = UUID("00000000-0000-7000-8000-000000000000")
