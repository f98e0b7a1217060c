"""The benchmark: data set x method x seed, one JSON a cell, tables and figures."""
