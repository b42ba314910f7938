"""A web page for one study: what each subset size says of a picture, and what more would buy."""
