"""A local web page: what each subset size says of a picture, and what more data would buy."""
