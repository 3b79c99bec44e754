"""What all tests share: fixtures (a pytest plugin) and real servers to test against."""
