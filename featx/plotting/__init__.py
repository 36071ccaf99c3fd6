"""Figures for a paper, and the data of every chart that figures and the page share.

``*_data`` modules prepare the data of one kind of chart from a result, without a drawing library;
``*_figure`` modules draw it by matplotlib, without pyplot and its global state: vector output,
color-blind safe, the same bytes for the same numbers.
"""
