"""Records, geometry, regions and random streams: no physics and no input or output of files' contents."""
