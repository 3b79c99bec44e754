"""Where stock lies, what moves it, and what orders have set aside."""
