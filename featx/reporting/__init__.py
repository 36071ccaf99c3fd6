"""The report: one HTML file that opens without a network, and the results it was made of."""

from featx.reporting.writing import read_results, write_page, write_report

__all__ = ["read_results", "write_page", "write_report"]
