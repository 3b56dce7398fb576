"""`python -m gatelens` is the program."""

import sys

from gatelens._errors import GatelensError
from gatelens._program import find, run_attached

try:
    program = find()
except GatelensError as error:
    sys.exit(f"error: {error}")
sys.exit(run_attached([program, *sys.argv[1:]]))
