"""What `ssh` runs to ask somebody: passes the question on, and the answer back.

It is a program of its own (standard library alone, nothing of ours imported): the argument is
the question, the socket that leads to whoever asks is named by the environment. The answer goes
to ssh through a pipe, and is nowhere else.
"""

from __future__ import annotations

import json
import os
import socket
import sys

SOCKET = "CHUTES_ASKPASS_SOCKET"
#: Set by ssh: "confirm" for a yes or no, "none" for a notice without an answer.
HINT = "SSH_ASKPASS_PROMPT"
LONGEST = 64 * 1024


def main() -> int:
    """Ask, and return 0 if there is an answer."""
    question = {"prompt": " ".join(sys.argv[1:]), "hint": os.environ.get(HINT, "")}
    with socket.socket(socket.AF_UNIX) as conversation:
        conversation.connect(os.environ[SOCKET])
        conversation.sendall(json.dumps(question).encode() + b"\n")
        said = b""
        while not said.endswith(b"\n") and len(said) <= LONGEST:
            data = conversation.recv(4096)
            if not data:
                return 1  # nobody answers
            said += data
    answer = json.loads(said)
    if not isinstance(answer, str):
        return 1
    sys.stdout.write(answer + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
