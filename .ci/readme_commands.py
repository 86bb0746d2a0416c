"""README.md in, one of its two commands out, letter by letter: `python3 .ci/readme_commands.py 1` (or 2).

What the gate runs is thereby what a reader copies. Needs nothing but Python.
"""

import re
import sys
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"
HEADING = "## Two commands"


def read_commands(text: str) -> list[str]:
    """The fenced blocks of that section, in order, as they stand there. Raises ValueError unless there are two."""
    _, found, rest = text.partition(f"\n{HEADING}\n")
    section = re.split(r"^## ", rest, maxsplit=1, flags=re.MULTILINE)[0]
    blocks = re.findall(r"^```[a-z]*\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    if not found or len(blocks) != 2:
        raise ValueError(f'README.md must have a section "{HEADING}" with two fenced blocks; found {len(blocks)}')
    return blocks


if __name__ == "__main__":
    print(read_commands(README.read_text(encoding="utf-8"))[int(sys.argv[1]) - 1], end="")
