#!/usr/bin/env python3
"""redis-cli, as a script would use it."""

import re
import subprocess

import events

WAIT_MILLISECONDS = "20000"


def stream_of(topic):
    return f"instep:{{{topic}}}:0"


def redis_cli(address, *arguments, data=None):
    return subprocess.run(
        ["redis-cli", "-u", address, *arguments], input=data, check=True, capture_output=True
    ).stdout


def texts(reply):
    """Of redis-cli's output for people, which quotes every byte; its JSON spoils quotes."""
    for quoted in re.findall(rb'^[^"]*"(.*)"$', reply, re.MULTILINE):
        yield quoted.decode("unicode_escape").encode("latin-1")


def show_entry(fields):
    entry = dict(zip([name.decode() for name in fields[::2]], fields[1::2]))
    data = entry.pop("data")
    headers = {name: text.decode() for name, text in entry.items()}
    events.show(headers, "ce_", headers.get("content-type"), data)


def read(address, topic, count):
    last = b"0"
    events.ready()
    for _ in range(count):
        reply = redis_cli(
            address, "--no-raw", "XREAD", "COUNT", "1", "BLOCK", WAIT_MILLISECONDS, "STREAMS",
            stream_of(topic), last,
        )
        _stream, last, *fields = texts(reply)
        show_entry(fields)


def write(address, topic, messages):
    for message in messages:
        fields = [word for name, text in message.headers.items() for word in (f"ce_{name}", text)]
        redis_cli(
            address, "-x", "XADD", stream_of(topic), "*", *fields,
            "content-type", message.content_type, "data", data=message.value,
        )


events.run(read, write)
