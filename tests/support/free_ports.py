"""Free ports of this host, and the ports on which a process listens."""

import socket

import psutil


def free_ports(count: int) -> list[int]:
    """Return different free ports, chosen by the operating system from its range for short-lived connections.

    Two test processes that ask at the same moment almost never get the same port. Prefect itself chooses among only
    1000 ports. When two of its servers chose the same port, neither failed, and the second test process used the server
    of the first one.
    """
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def listening_ports(process_id: int) -> set[int]:
    """Return the ports on which a process accepts connections."""
    connections = psutil.Process(process_id).net_connections()
    return {each.laddr.port for each in connections if each.status == psutil.CONN_LISTEN}
