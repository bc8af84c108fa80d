"""Outlines of parked aircraft: seven known types, or any other that a user describes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sarcurate.errors import ParamsError


class EngineKind(StrEnum):
    """What the radar sees of an engine: a cavity in a pod, a turning metal disc, or a duct in the body."""

    NACELLE = "nacelle"
    PROPELLER = "propeller"
    BURIED = "buried"


@dataclass(frozen=True)
class Engine:
    """One engine; with ``offset_m`` > 0 it stands for the mirrored pair.

    Args:
        intake_m: distance of the intake (or propeller disc) behind the nose, in m.
        length_m: from intake to nozzle, in m.
        offset_m: distance from the centre line, in m.
        height_m: height of its axis above the ground, in m.
        kind: pod, propeller or buried.
    """

    intake_m: float
    length_m: float
    offset_m: float
    height_m: float
    kind: EngineKind


@dataclass(frozen=True)
class Lifting:
    """A mirrored pair of wings or tailplanes, as two trapezoids.

    Args:
        span_m: tip to tip.
        root_m: distance of the leading edge at the centre line behind the nose.
        root_chord_m: chord at the centre line.
        tip_chord_m: chord at the tip.
        sweep_deg: sweep of the leading edge.
        height_m: above the ground.
    """

    span_m: float
    root_m: float
    root_chord_m: float
    tip_chord_m: float
    sweep_deg: float
    height_m: float


@dataclass(frozen=True)
class Airframe:
    """An aircraft as the simulator needs it.

    Args:
        name: the class name; scatterer details that no drawing gives are drawn from it.
        length_m: overall length.
        height_m: top of the fin above the ground.
        fuselage_width_m: width of the body, taken as its depth too.
        fuselage_height_m: height of the body's axis above the ground.
        wing: the wing.
        tailplane: the horizontal tail.
        fin_offsets_m: position of each fin beside the centre line.
        engines: engines, mirrored ones once.

    Raises:
        ParamsError: where a dimension is not positive or a part lies outside the overall length.
    """

    name: str
    length_m: float
    height_m: float
    fuselage_width_m: float
    fuselage_height_m: float
    wing: Lifting
    tailplane: Lifting
    fin_offsets_m: tuple[float, ...]
    engines: tuple[Engine, ...]

    def __post_init__(self) -> None:
        sizes = {
            "length_m": self.length_m,
            "height_m": self.height_m,
            "fuselage_width_m": self.fuselage_width_m,
            "fuselage_height_m": self.fuselage_height_m,
            "wing.span_m": self.wing.span_m,
            "wing.root_chord_m": self.wing.root_chord_m,
            "tailplane.span_m": self.tailplane.span_m,
            "tailplane.root_chord_m": self.tailplane.root_chord_m,
        }
        for field, value in sizes.items():
            if not 0.0 < value < 200.0:
                raise ParamsError(
                    f"airframe {self.name}: {field} is {value}, expected 0 to 200 m",
                    fix=f"correct {field}",
                )
        for field, root_m in (("wing", self.wing.root_m), ("tailplane", self.tailplane.root_m)):
            if not 0.0 <= root_m < self.length_m:
                raise ParamsError(
                    f"airframe {self.name}: {field}.root_m is {root_m}, expected 0 to {self.length_m} m",
                    fix=f"give the {field}'s leading edge at the centre line, in metres behind the nose",
                )

    @property
    def span_m(self) -> float:
        """Wing span, in m."""
        return self.wing.span_m

    @property
    def largest_m(self) -> float:
        """The larger of length and span, in m."""
        return max(self.length_m, self.wing.span_m)


def aircraft() -> tuple[Airframe, ...]:
    """Seven bombers, airliners, transports and fighters, in the order of their names.

    Length, span and height are public figures: U.S. Air Force fact sheets (B-52H, C-130H, C-17A, F-15C,
    F-16C) and Boeing's airplane characteristics for airport planning (D6-58326-1: 747-400; D6-58328:
    767-300). Chords are chosen so that the trapezoids have about the published wing area; leading edge
    positions, body and engine places are read off public three-view drawings to about 0.5 m.
    """
    return (_b52(), _b747(), _b767(), _c130(), _c17(), _f15(), _f16())


def airframe_named(name: str) -> Airframe:
    """One of :func:`aircraft` by its class name.

    Raises:
        ParamsError: for any other name.
    """
    known = {airframe.name: airframe for airframe in aircraft()}
    if name not in known:
        raise ParamsError(
            f"no airframe is called {name!r}; expected one of {', '.join(known)}",
            fix="use one of these names, or build an Airframe of your own",
        )
    return known[name]


def _b52() -> Airframe:
    """B-52H: 48.5 m long, 56.4 m span; eight engines in four twin pods, high wing swept 35 deg."""
    pods = tuple(
        Engine(intake_m, 5.0, offset_m, 2.6, EngineKind.NACELLE)
        for intake_m, offset_m in ((16.0, 9.8), (16.2, 11.2), (22.4, 17.6), (22.6, 19.0))
    )
    return Airframe(
        "B-52", 48.5, 12.4, 3.2, 3.0,
        Lifting(56.4, 12.5, 9.4, 3.7, 37.0, 4.4),
        Lifting(15.9, 40.2, 6.0, 2.6, 40.0, 3.6),
        (0.0,), pods,
    )  # fmt: skip


def _b747() -> Airframe:
    """Boeing 747-400: 70.7 m long, 64.4 m span; four engines, low wing swept 37.5 deg."""
    return Airframe(
        "Boeing-747", 70.7, 19.4, 6.5, 5.4,
        Lifting(64.4, 19.5, 15.5, 4.0, 41.0, 4.0),
        Lifting(22.2, 59.0, 9.5, 2.7, 41.0, 6.8),
        (0.0,),
        (Engine(24.0, 6.0, 11.7, 2.0, EngineKind.NACELLE), Engine(31.8, 6.0, 20.8, 2.4, EngineKind.NACELLE)),
    )  # fmt: skip


def _b767() -> Airframe:
    """Boeing 767-300: 54.9 m long, 47.6 m span; two engines, low wing swept 31.5 deg."""
    return Airframe(
        "Boeing-767", 54.9, 15.9, 5.0, 4.6,
        Lifting(47.6, 17.5, 10.0, 2.3, 34.5, 3.4),
        Lifting(18.6, 46.2, 6.6, 2.0, 36.0, 5.6),
        (0.0,),
        (Engine(17.6, 5.5, 7.9, 2.0, EngineKind.NACELLE),),
    )  # fmt: skip


def _c130() -> Airframe:
    """C-130H: 29.8 m long, 40.4 m span; four propellers, straight high wing."""
    return Airframe(
        "C-130", 29.8, 11.7, 4.3, 2.7,
        Lifting(40.4, 10.2, 5.4, 2.6, 2.0, 4.9),
        Lifting(16.1, 24.5, 4.3, 1.9, 10.0, 5.2),
        (0.0,),
        (Engine(7.6, 4.5, 4.9, 4.3, EngineKind.PROPELLER), Engine(7.8, 4.5, 10.1, 4.3, EngineKind.PROPELLER)),
    )  # fmt: skip


def _c17() -> Airframe:
    """C-17A: 53.0 m long, 51.8 m span; four engines, high wing swept 25 deg, T tail."""
    return Airframe(
        "C-17", 53.0, 16.8, 6.9, 4.0,
        Lifting(51.8, 15.5, 10.6, 3.0, 27.5, 6.9),
        Lifting(19.8, 46.5, 6.0, 2.6, 27.0, 16.2),
        (0.0,),
        (Engine(14.2, 6.5, 7.4, 4.2, EngineKind.NACELLE), Engine(18.0, 6.5, 14.3, 4.0, EngineKind.NACELLE)),
    )  # fmt: skip


def _f15() -> Airframe:
    """F-15C: 19.4 m long, 13.1 m span; two buried engines, twin fins, high wing swept 45 deg."""
    return Airframe(
        "F-15", 19.4, 5.6, 2.8, 1.9,
        Lifting(13.1, 6.6, 7.2, 1.5, 45.0, 2.3),
        Lifting(8.6, 14.2, 4.0, 1.4, 50.0, 1.8),
        (-1.7, 1.7),
        (Engine(6.2, 13.0, 1.2, 1.8, EngineKind.BURIED),),
    )  # fmt: skip


def _f16() -> Airframe:
    """F-16C: 15.1 m long, 10.0 m span with tip missiles; one buried engine, mid wing swept 40 deg."""
    return Airframe(
        "F-16", 15.1, 5.1, 1.7, 1.8,
        Lifting(10.0, 5.6, 4.9, 1.1, 40.0, 1.9),
        Lifting(5.6, 11.3, 2.9, 0.9, 40.0, 1.8),
        (0.0,),
        (Engine(4.4, 10.4, 0.0, 1.2, EngineKind.BURIED),),
    )  # fmt: skip
