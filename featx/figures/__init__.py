"""Figures for a paper, drawn by matplotlib; the data of each chart, which the report shares."""
