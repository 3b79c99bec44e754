"""What logistics' HTTP API takes and gives. Events have contracts of their own."""
