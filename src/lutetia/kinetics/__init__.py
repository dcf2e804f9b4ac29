"""From activity over time to time-integrated activity: models, fits, nuclide transfer, blood; arrays in, arrays out."""
