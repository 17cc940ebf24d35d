"""Free ports of this host for the servers of tests, and the ports that a process listens on."""

import socket

import psutil


def free_ports(count: int) -> list[int]:
    """Return different free ports, chosen by the operating system from its range for short-lived connections.

    Two test processes that choose at the same moment almost never get the same port. Prefect's own choice is one of
    1000 ports, and two of its servers that chose the same one did not notice: the second test process used the server
    of the first.
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
