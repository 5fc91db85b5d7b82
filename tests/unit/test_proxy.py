"""The tests' own proxy leaves out notifications, and nothing that comes in one piece with them."""

import pytest

from tests.support.proxy import PostgresDeafness, RedisDeafness

CONFIRMED = b"*3\r\n$9\r\nsubscribe\r\n$2\r\nek\r\n:1\r\n"
MESSAGE = b"*3\r\n$7\r\nmessage\r\n$2\r\nek\r\n$13\r\na\r\nmessage\r\nb\r\n"
READY = b"Z\0\0\0\x05I"
NOTIFIED = b"A\0\0\0\x0e\0\0\0\x01c\0Z\0\0\0"


@pytest.mark.parametrize("size", range(1, 60))
def test_of_redis(size: int) -> None:
    sent = CONFIRMED + MESSAGE + CONFIRMED + MESSAGE + MESSAGE + CONFIRMED
    deafness = RedisDeafness()
    assert b"".join(deafness(sent[at : at + size]) for at in range(0, len(sent), size)) == CONFIRMED * 3


@pytest.mark.parametrize("size", range(1, 30))
def test_of_postgres(size: int) -> None:
    sent = READY + NOTIFIED + READY + NOTIFIED + NOTIFIED + READY
    deafness = PostgresDeafness()
    assert b"".join(deafness(sent[at : at + size]) for at in range(0, len(sent), size)) == READY * 3
