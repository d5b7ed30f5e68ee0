"""One server with Poisson arrivals: how long requests stay, and the load at which they stay no longer than allowed.

A stay (sojourn) is waiting plus service, in seconds. Where the load is as high as the server's rate or higher, no
stationary stay exists and the answer is infinity. All of it holds for Poisson arrivals only: public traces have
inter-arrival CVs of 1 (Azure conversation) to 13 (Azure code).
"""

from __future__ import annotations

import math

from pdoperator.capacity.lengths import ServiceTime


class StayTooShortError(ValueError):
    """A stay is asked for that is shorter than the service alone."""

    def __init__(self, stay_s: float, service_s: float) -> None:
        super().__init__(
            f"a stay of {stay_s:.4g} s is not possible: the service alone takes {service_s:.4g} s"
        )


def mg1_stay_s(rate_rps: float, service: ServiceTime) -> float:
    """Mean stay of M/G/1 (Pollaczek-Khinchine): E[S] + lambda E[S^2] / (2 (1 - rho)).

    With fixed service it is M/D/1, with exponential service M/M/1: 1/(mu - lambda).
    """
    rho = rate_rps * service.mean_s
    if rho >= 1:
        return math.inf
    return service.mean_s + rate_rps * service.second_moment_s2 / (2 * (1 - rho))


def mg1_rate_rps(stay_s: float, service: ServiceTime) -> float:
    """The arrival rate at which the mean stay of M/G/1 is `stay_s`: lambda = 2W / (E[S^2] + 2W E[S]), W the wait.

    Raises StayTooShortError when `stay_s` is below the service time.
    """
    wait_s = stay_s - service.mean_s
    if wait_s < 0:
        raise StayTooShortError(stay_s, service.mean_s)
    return 2 * wait_s / (service.second_moment_s2 + 2 * wait_s * service.mean_s)


def mm1_stay_quantile_s(rate_rps: float, service_s: float, share: float) -> float:
    """Stay of M/M/1 that `share` (0 < share < 1) of the requests do not exceed: ln(1/(1-share)) / (mu - lambda)."""
    slack_rps = 1 / service_s - rate_rps
    return quantile_factor(share) / slack_rps if slack_rps > 0 else math.inf


def quantile_factor(share: float) -> float:
    """ln(1/(1-share)): an exponential's quantile in units of its mean. Raises ValueError outside 0..1."""
    if not 0 < share < 1:
        raise ValueError(f"a share must lie between 0 and 1, both excluded; got {share}")
    return -math.log1p(-share)
