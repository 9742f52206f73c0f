"""The simulated world: the cores of production on one seeded heap of events, with everything that can go wrong."""
