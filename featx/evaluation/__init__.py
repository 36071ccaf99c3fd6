"""Which features win: protocols, linear probes, comparison, domain transfer."""
