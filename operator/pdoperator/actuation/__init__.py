"""A Decision to scaling, role flips and drains."""
