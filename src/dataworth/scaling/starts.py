"""What a classifier starts from, which decides how probable each law is at first; imports no scipy.

The help of a command names the choices, and must not wait for scipy.
"""

from typing import Literal

Start = Literal["unknown", "scratch", "pretrained", "tabular"]
