"""Laboratory analytes, units, grades and renal function: tables as data, arrays in and out."""
