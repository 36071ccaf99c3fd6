"""Networks: where they come from, weights, preprocessing, their layers."""
