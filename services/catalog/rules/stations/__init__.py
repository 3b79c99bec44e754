"""Rules for devices, allotments and what stations sell."""
