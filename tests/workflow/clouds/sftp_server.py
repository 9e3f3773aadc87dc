"""An SSH server on loopback that gives one folder by SFTP, to anybody with the password `test`.

python sftp_server.py FOLDER     # prints its port, and ends with its input
"""

import asyncio
import sys
from functools import partial

import asyncssh


class Anybody(asyncssh.SSHServer):
    """Lets in whoever knows the password."""

    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return password == "test"


def served(folder: str, channel: asyncssh.SSHServerChannel) -> asyncssh.SFTPServer:
    """The folder as the root of all paths."""
    return asyncssh.SFTPServer(channel, chroot=folder.encode())


async def main(folder: str) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_factory=Anybody,
        server_host_keys=[key],
        sftp_factory=partial(served, folder),
    )
    print(server.get_port(), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
