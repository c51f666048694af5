"""One slot of many environments: the order of a step, its plain parts, and the same parts with kernels."""
