"""Upper bounds on what any beamformer and any phase shifts can reach in one cell."""
