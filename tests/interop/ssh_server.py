"""An SSH host of the independent library asyncssh, for logins that OpenSSH's sshd does only with PAM. Prints its port.

Each user name logs in in one way: `password`, `keyboard` (two questions, of which the second is shown while it is typed),
`either` (the password is refused, the questions are not), `change` (the password is right but has to be changed first).
"""

import asyncio
import sys

import asyncssh

SECRET = sys.argv[1]


class Host(asyncssh.SSHServer):
    user = ""
    asked = 0

    def begin_auth(self, username):
        self.user = username
        return True

    def password_auth_supported(self):
        return self.user in ("password", "either", "change")

    def validate_password(self, username, password):
        if username == "change" and password == SECRET:
            raise asyncssh.PasswordChangeRequired("it is too old")
        return username == "password" and password == SECRET

    def kbdint_auth_supported(self):
        return self.user in ("keyboard", "either")

    def get_kbdint_challenge(self, username, lang, submethods):
        self.asked = 1
        return "title", "instruction", "en", [("Password: ", False), ("Colour: ", True)]

    def validate_kbdint_response(self, username, responses):
        if self.asked == 1 and list(responses) == [SECRET, ""]:
            self.asked = 2
            # Some hosts end with a round without any question.
            return "", "", "", []
        return self.asked == 2 and list(responses) == []


def run(process):
    """`leave` closes the channel without an exit status, as some devices do; `cut` closes the connection there."""
    if process.command in ("leave", "cut"):
        process.stdout.write("half")
        if process.command == "cut":
            process.channel.get_connection().abort()
        else:
            process.close()
        return
    process.stdout.write(f"{process.get_extra_info('username')} ran {process.command}\n")
    process.exit(0)


async def main():
    key = asyncssh.generate_private_key("ssh-ed25519")
    server = await asyncssh.listen("127.0.0.1", 0, server_factory=Host, server_host_keys=[key], process_factory=run)
    print(server.get_port(), flush=True)
    await server.wait_closed()


asyncio.run(main())
