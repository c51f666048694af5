"""Where things stand, how users walk, how channels fade, who owns what, and what rates that gives."""
