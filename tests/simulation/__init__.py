"""The real operations over a simulated store, with every interleaving, fault and delay under control."""
