"""What the networks hear: Audio -> CQT, mel levels, posteriorgrams, harmonic series feature; all on one clock."""
