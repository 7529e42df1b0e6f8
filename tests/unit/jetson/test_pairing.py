from __future__ import annotations

from vortex_jetson.live.pairing import Frame, Pairing

MS = 1_000_000


def test_colour_goes_with_the_nearest_depth_within_the_bound_whichever_comes_first() -> None:
    pairing: Pairing[str] = Pairing(bound_s=0.02)
    assert pairing.depth(100 * MS, "d1") is None
    assert pairing.depth(110 * MS, "d2") is None
    assert pairing.colour(112 * MS, "c1") == Frame(112 * MS, "c1", "d2", None)
    assert pairing.colour(145 * MS, "c2") is None
    assert pairing.depth(165 * MS, "d3") == Frame(145 * MS, "c2", "d3", None)
    assert pairing.colour(200 * MS, "c3") is None
    assert pairing.depth(221 * MS, "d4") is None  # 21 ms apart
    assert pairing.dropped == 0


def test_a_frame_is_given_once_and_none_goes_back() -> None:
    pairing: Pairing[str] = Pairing()
    pairing.colour(100 * MS, "c1")
    pairing.colour(133 * MS, "c2")
    assert pairing.depth(133 * MS, "d2") == Frame(133 * MS, "c2", "d2", None)
    assert pairing.depth(100 * MS, "d1") is None and pairing.colour(100 * MS, "c1") is None
    assert pairing.depth(134 * MS, "d2 again") is None
    assert pairing.dropped == 1


def test_confidence_is_waited_for_where_there_is_one() -> None:
    pairing: Pairing[str] = Pairing(with_confidence=True)
    assert pairing.colour(0, "c") is None and pairing.depth(0, "d") is None
    assert pairing.confidence(MS, "s") == Frame(0, "c", "d", "s")


def test_colour_goes_alone_when_depth_fell_silent_and_no_longer_when_it_is_back() -> None:
    pairing: Pairing[str] = Pairing(silent_s=0.5)
    frames = [pairing.colour(stamp * MS, "c") for stamp in range(0, 600, 100)]
    assert frames == [None] * 6
    assert pairing.colour(600 * MS, "c") == Frame(600 * MS, "c", None, None)
    assert pairing.colour(633 * MS, "c") == Frame(633 * MS, "c", None, None)
    assert pairing.depth(633 * MS, "late") is None  # that frame is out; but the ToF camera is back
    assert pairing.colour(667 * MS, "c") is None
    assert pairing.depth(667 * MS, "d") == Frame(667 * MS, "c", "d", None)


def test_cameras_that_pause_are_not_silent() -> None:
    pairing: Pairing[str] = Pairing()
    pairing.depth(0, "d")
    assert pairing.colour(0, "c") is not None
    assert pairing.colour(9_000 * MS, "c") is None
    assert pairing.depth(9_000 * MS, "d") == Frame(9_000 * MS, "c", "d", None)


def test_a_recording_that_starts_again_is_followed() -> None:
    pairing: Pairing[str] = Pairing()
    pairing.depth(9_000 * MS, "d")
    assert pairing.colour(9_000 * MS, "c") is not None
    assert pairing.colour(0, "first") is None
    assert pairing.depth(0, "d") == Frame(0, "first", "d", None)


def test_no_more_than_a_few_messages_are_remembered() -> None:
    pairing: Pairing[str] = Pairing(remembered=3)
    for stamp in range(5):
        pairing.depth(stamp * 100 * MS, f"d{stamp}")
    assert pairing.colour(100 * MS, "c1") is None  # its depth is forgotten
    assert pairing.colour(200 * MS, "c2") == Frame(200 * MS, "c2", "d2", None)
