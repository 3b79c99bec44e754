"""Health check of a container: checks that its process answers a page with 200.

`probe.py PORT PATH` exits with 0, or with 1 and the reason. It uses only the socket module, because
it runs every few seconds in ten containers and an HTTP client takes five times as long to import.
"""

import socket
import sys

#: Seconds to wait for the connection, and for each part of the answer.
TIMEOUT = 4


def main(port: str, path: str) -> int:
    """Request the page once; return the exit code."""
    try:
        with socket.create_connection(("127.0.0.1", int(port)), TIMEOUT) as connection:
            connection.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
            answer = b""
            while chunk := connection.recv(4096):
                answer += chunk
    except OSError as error:
        print(f"nothing answers on port {port}: {error}")
        return 1
    status, _, _ = answer.partition(b"\r\n")
    if b" 200 " in status + b" ":
        return 0
    print(answer.decode(errors="replace")[:1000])
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
