"""A model's name -> a freshly initialised classifier."""
