"""The report: one HTML file that opens without a network, and the results it was made of."""
