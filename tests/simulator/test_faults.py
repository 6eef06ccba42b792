from compass_ray.simulator.exchange import Frame
from compass_ray.simulator.faults import HangUp, Pause, in_one_piece, steps
from compass_ray.simulator.script import Fault

FRAMES = [Frame(b"role", 0), Frame("né".encode(), 1), Frame(b"ma", 1)]


def damaged(*fault, frames=FRAMES):
    return list(steps(frames, Fault(*fault)))


def test_without_a_fault_all_is_sent():
    assert list(steps(FRAMES, None)) == FRAMES


def test_a_cut_after_bytes_may_tear_a_character():
    assert damaged("cut_after_bytes", 6) == [FRAMES[0], Frame(b"n\xc3", 1), HangUp()]


def test_a_cut_beyond_the_end_cuts_nothing():
    assert damaged("cut_after_bytes", 100) == FRAMES


def test_a_cut_after_chunks_sends_so_many():
    assert damaged("cut_after_chunks", 2) == [*FRAMES[:2], HangUp()]
    assert damaged("cut_after_chunks", 0) == [HangUp()]


def test_a_stall_is_followed_by_the_rest_once():
    assert damaged("stall_after_chunks", 1, 2.0) == [FRAMES[0], Pause(2.0), *FRAMES[1:]]


def test_a_whole_answer_is_cut_in_its_middle():
    fault = Fault("cut_after_chunks", 1)
    frames = in_one_piece(b"abcd", 2, fault)

    assert list(steps(frames, fault)) == [Frame(b"", 1), Frame(b"", 1), Frame(b"ab"), HangUp()]


def test_a_huge_line_stays_the_same_json():
    sent = b"".join(step.data for step in damaged("huge_line", 5, frames=[Frame(b'data: {"a":1}')]))

    assert sent == b'data: {     "a":1}'
