"""How high a load will rise: one series' history, and the peak expected of it."""

from __future__ import annotations

import math
from bisect import bisect
from dataclasses import dataclass, replace

import numpy as np

from pdoperator.api import defaults
from pdoperator.forecast import load_text
from pdoperator.forecast.buckets import Buckets, Floats
from pdoperator.forecast.conformal import QUANTILES
from pdoperator.forecast.features import COLUMNS, F, row
from pdoperator.forecast.fit import NAMES
from pdoperator.forecast.load_text import LoadHistory
from pdoperator.forecast.season import COARSE_S, KEEP_S, Season, season_at
from pdoperator.forecast.track import Track

FINE_S = 2 * 3600.0
WINDOWS_S = (10.0, 30.0)
HOLD = "Hold"
_FIRST_S = 60.0  # of a history are too short to learn from
_NEW_HEIGHT = 1.4  # a peak is never expected above so many times the highest of a week


class NoLoadSeenError(ValueError):
    """A forecast was asked for before any load had been seen."""

    def __init__(self) -> None:
        super().__init__("no load has been seen yet")


@dataclass(frozen=True, slots=True)
class Peak:
    """The load that will not be exceeded.

    `value` at the quantile asked, `point` in the median. `skill` is the share of the loss of the better of last value
    and seasonal naive that the forecast avoided in its back-test; `trusted` is False when it avoided none. Both are
    None while there is too little history for a test.
    """

    value: float
    point: float
    model: str
    skill: float | None
    trusted: bool | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class LoadForecast:
    """The history of one load, in any unit. A value: observing returns a new one, cheaply."""

    interval_s: float
    tracks: tuple[Track, ...]  # by window, shortest first
    fine: Buckets
    averages: tuple[Buckets, ...]  # over the window of each track
    coarse: Buckets
    season: Season
    silent: int = 0  # buckets since the newest known reading

    @classmethod
    def empty(cls, interval_s: float) -> LoadForecast:
        """No history yet; `interval_s` is the time between observations."""
        windows = sorted({max(1, round(window / interval_s)) for window in WINDOWS_S})
        none = Buckets.of(round(FINE_S / interval_s), 0, np.empty(0))
        coarse = Buckets.of(round(KEEP_S / COARSE_S), 0, np.empty(0))
        tracks = tuple(Track.empty(window, interval_s) for window in windows)
        return cls(interval_s, tracks, none, (none,) * len(tracks), coarse, Season())

    @classmethod
    def backfilled(cls, interval_s: float, at_s: Floats, values: Floats) -> LoadForecast:
        """From readings of a time before, such as Prometheus' answer to a range query; NaN: missing.

        Readings no more than `interval_s` apart become recent history; others only tell days and weeks.
        """
        empty = cls.empty(interval_s)
        if not len(at_s):
            return empty
        step_s = empty._per_coarse * interval_s
        index = np.floor_divide(at_s, step_s).astype(int)
        known, first = ~np.isnan(values), int(index[0])
        readings = np.bincount(index[known] - first, minlength=int(index[-1]) - first + 1)
        total = np.bincount(index[known] - first, values[known], len(readings))
        means = np.where(readings > 0, total / np.maximum(readings, 1), math.nan)
        coarse = Buckets.of(empty.coarse.keep, int(index[-1]) + 1, means)
        recent = at_s > at_s[-1] - FINE_S
        fine = len(at_s) > 1 and float(np.median(np.diff(at_s))) <= interval_s
        return empty._with(coarse, at_s[recent] if fine else np.empty(0), values[recent])

    @classmethod
    def from_text(cls, text: str) -> LoadForecast:
        """The history that `to_text` wrote, its models fitted and judged anew. Raises UnreadableHistoryError.

        Takes tenths of a second: call it in a thread.
        """
        saved = load_text.from_text(text)
        empty = cls.empty(saved.interval_s)
        coarse = Buckets.of(empty.coarse.keep, saved.coarse_end, saved.coarse)
        steps = np.arange(saved.fine_end - len(saved.fine) + 1, saved.fine_end + 1)
        return empty._with(coarse, (steps * saved.interval_s).astype(np.float64), saved.fine)

    def to_text(self) -> str:
        """The history, to be kept over a restart."""
        fine, coarse = self.fine, self.coarse
        history = LoadHistory(self.interval_s, fine.end, fine.values(), coarse.end, coarse.values())
        return load_text.to_text(history)

    def _with(self, coarse: Buckets, at_s: Floats, values: Floats) -> LoadForecast:
        forecast = replace(self, coarse=coarse, season=season_at(coarse))
        for moment, value in zip(at_s.tolist(), values.tolist(), strict=False):
            forecast = forecast.observe(moment, value)
        return forecast

    def observe(self, at_s: float, value: float | None) -> LoadForecast:
        """With the mean load over the interval that ended at `at_s`; None: it is not known.

        A second observation of the same interval is ignored.
        """
        end = round(at_s / self.interval_s)
        anew = not self.fine.size or end - self.fine.end > self.fine.keep
        forecast = self._from(end - 1) if anew else self
        for _ in range(end - forecast.fine.end - 1):
            forecast = forecast._stepped(math.nan)
        return (
            forecast._stepped(math.nan if value is None else value) if end > forecast.fine.end else forecast
        )

    @property
    def span_s(self) -> float:
        """How long the recent history is."""
        return self.fine.size * self.interval_s

    def recent(self, over_s: float) -> float:
        """The mean of what is known of the last `over_s`; of a longer time where nothing of that is known.

        Raises NoLoadSeenError before the first known reading.
        """
        steps = max(1, round(over_s / self.interval_s))
        while math.isnan(mean := self.fine.mean(self.fine.end - steps, self.fine.end)):
            if steps > self.fine.size:
                raise NoLoadSeenError
            steps *= 2
        return mean

    def peak(self, horizon_s: float, quantile: float, window_s: float) -> Peak:
        """The load that no average over `window_s` exceeds between now and now + `horizon_s`, at `quantile`.

        Raises NoLoadSeenError before the first known reading.
        """
        track, x, ceiling = self._asked(window_s)
        horizon = max(1.0, horizon_s / self.interval_s)
        over = _between(track.horizons, track.mixture.quantiles(x), horizon)
        value, point = (min(float(np.interp(q, QUANTILES, over)), ceiling) for q in (quantile, 0.5))
        at, judgement = track.nearest(horizon), track.judgement
        silent_s = self.silent * self.interval_s
        skill = float(judgement.skill[at]) if judgement.judged else None
        if silent_s > defaults.METRICS_MAX_AGE_S:
            return Peak(value, point, HOLD, skill, False, f"no reading for {silent_s:.0f} s")
        trusted = bool(judgement.trusted[at]) if judgement.judged else None
        model = NAMES[int(track.mixture.belief[:, at].argmax())]
        return Peak(value, point, model, skill, trusted, judgement.note(at))

    def each_model(self, horizon_s: float, window_s: float) -> Floats:
        """What each of NAMES says by itself, at the SCORED quantiles: (models, quantiles). Raises as `peak` does."""
        track, x, ceiling = self._asked(window_s)
        said = track.mixture.fit.said(x[None], track.judgement.belief())
        each: Floats = np.minimum(said[0, :-1, track.nearest(horizon_s / self.interval_s)], ceiling)
        return each

    def _asked(self, window_s: float) -> tuple[Track, Floats, float]:
        """The track of the next shorter window, what is known, and the highest load that is thought possible."""
        at = max(
            (i for i, t in enumerate(self.tracks) if t.window <= window_s / self.interval_s + 0.5), default=0
        )
        track = self.tracks[at]
        held = self.silent * self.interval_s > defaults.METRICS_MAX_AGE_S
        now = self.fine.end - (self.silent if held else 0)
        x = row(self.fine, self.averages[at], now, self.interval_s, self.season)
        if x is None:
            raise NoLoadSeenError
        return track, np.array(x), _NEW_HEIGHT * max(x[F.PEAK_3600], track.highest, self.season.highest)

    def _from(self, end: int) -> LoadForecast:
        """Nothing recent, the clock set: at the start, and after a silence longer than what is kept."""
        none = Buckets.of(self.fine.keep, end, np.empty(0))
        coarse_end = end // self._per_coarse
        known = self.coarse.values(stop=coarse_end)
        gap = np.full(min(max(0, coarse_end - self.coarse.end), self.coarse.keep), math.nan)
        coarse = Buckets.of(self.coarse.keep, coarse_end, np.concatenate([known, gap]))
        return replace(
            self,
            tracks=tuple(track.forgetful() for track in self.tracks),
            fine=none,
            averages=(none,) * len(self.tracks),
            coarse=coarse,
            season=season_at(coarse),
        )

    @property
    def _per_coarse(self) -> int:
        return max(1, round(COARSE_S / self.interval_s))

    def _stepped(self, reading: float) -> LoadForecast:
        fine = self.fine.appended(reading)
        averages = tuple(
            kept.appended(fine.mean(fine.end - track.window, fine.end))
            for kept, track in zip(self.averages, self.tracks, strict=True)
        )
        coarse, season, tracks = self.coarse, self.season, self.tracks
        if fine.end % self._per_coarse == 0:
            coarse = coarse.appended(fine.mean(fine.end - self._per_coarse, fine.end))
            season = season_at(coarse)
        if (
            fine.size * self.interval_s >= _FIRST_S
            and fine.known
            and any(track.due(fine.end) for track in tracks)
        ):
            tracks = tuple(
                self._reviewed(track, fine, kept, season) if track.due(fine.end) else track
                for track, kept in zip(tracks, averages, strict=True)
            )
        silent = 0 if reading == reading else self.silent + 1
        return LoadForecast(self.interval_s, tracks, fine, averages, coarse, season, silent)

    def _reviewed(self, track: Track, fine: Buckets, averages: Buckets, season: Season) -> Track:
        start = fine.end if track.end is None else track.end + track.stride
        rows = [
            row(fine, averages, end, self.interval_s, season) or [math.nan] * COLUMNS
            for end in range(start, fine.end + 1, track.stride)
        ]
        return track.reviewed(fine.end, np.array(rows), averages)


def _between(horizons: tuple[int, ...], values: Floats, horizon: float) -> Floats:
    """The row of `values` at `horizon`, between those of the horizons around it by the logarithm of time."""
    at = bisect(horizons, horizon)
    if at in (0, len(horizons)):
        only: Floats = values[min(at, len(horizons) - 1)]
        return only
    before, after = horizons[at - 1], horizons[at]
    share = math.log(horizon / before) / math.log(after / before)
    between: Floats = values[at - 1] * (1 - share) + values[at] * share
    return between
