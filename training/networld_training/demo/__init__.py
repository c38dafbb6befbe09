"""The live demonstration: a broker, one process for each cell, and a simulated radio between them."""
