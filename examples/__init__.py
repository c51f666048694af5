"""Programs to copy from: trainers, and the environment with other libraries."""
