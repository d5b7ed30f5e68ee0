"""Pod addresses from 127.0.0.0/8: every one of them is this machine, with no set-up and no root."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network


class AddressPool:
    """Hands out addresses in turn, so that one is not used again soon after it was given back."""

    def __init__(self, network: IPv4Network) -> None:
        self._network = network
        self._used: set[IPv4Address] = set()
        self._next = 1

    def take(self) -> str:
        """Raises `LookupError` when every address is in use."""
        hosts = self._network.num_addresses - 2
        for _ in range(hosts):
            address = self._network.network_address + self._next
            self._next = self._next % hosts + 1
            if address not in self._used:
                self._used.add(address)
                return str(address)
        raise LookupError(f"no address left in {self._network}")

    def give_back(self, address: str) -> None:
        self._used.discard(IPv4Address(address))
