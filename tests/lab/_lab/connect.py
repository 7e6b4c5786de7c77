# Copyright (c) 2026, ipsec.manual contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ssh's ProxyCommand: connects to ADDRESS PORT in the current network namespace, passes the socket
to ssh, and exits (ProxyUseFdpass).
"""

import socket
import sys

address, port = sys.argv[1], int(sys.argv[2])
try:
    connection = socket.create_connection((address, port), timeout=10)
except OSError as exc:
    sys.exit(f"lab host at {address} port {port}: {exc}")
connection.setblocking(True)
with socket.socket(fileno=1) as ssh:
    socket.send_fds(ssh, [b"\0"], [connection.fileno()])
    ssh.detach()
