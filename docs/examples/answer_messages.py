#!/usr/bin/env python3
"""Answers every message exactly once, also what came while it did not run.

    answer_messages.py [BUS_ADDRESS]        the system bus, if none is named

It needs Python 3.9 and Debian's packages python3-dbus and python3-gi. How nothing is missed and nothing answered twice:
it listens (Available) before it asks (Fetch); it acknowledges a message (Ack) when its answer is on disk; and it
answers under a key that belongs to the message, so that the same answer once more stays one. It ends with an error
where the messenger is locked or away: let a supervisor start it again.
"""

import sys

import dbus
import dbus.bus
from gi.repository import GLib
from dbus.mainloop.glib import DBusGMainLoop

SERVICE, ROOT = "org.kith.Messenger1", "/org/kith/Messenger1"
CONSUMER = "answer_messages.py"
# Whoever wrote cannot be answered any more. After every other error the message is fetched again.
UNANSWERABLE = ("Blocked", "NotAMember", "NotFound", "NotPaired", "RoomFrozen", "UnknownObject")


def call(bus, path, interface, method, signature, *arguments):
    return bus.call_blocking(SERVICE, path, f"{SERVICE}.{interface}", method, signature, arguments, byte_arrays=True)


def answer(bus, row):
    text = f"You said: {bytes(row['body']).decode(errors='replace')[:1000]}"
    options = {"reply_to": row["id"], "idempotency_key": f"answer-{row['id']}"}
    try:
        path = row.get("room", row["peer"])
        call(bus, path, "Conversation1", "Send", "saya{sv}", "text/plain", text.encode(), options)
    except dbus.DBusException as error:
        if error.get_dbus_name().rsplit(".", 1)[-1] not in UNANSWERABLE:
            raise


def main():
    DBusGMainLoop(set_as_default=True)
    bus = dbus.bus.BusConnection(sys.argv[1]) if len(sys.argv) > 1 else dbus.SystemBus()
    bus.set_exit_on_disconnect(True)
    news = [None]
    bus.add_signal_receiver(news.append, "Available", f"{SERVICE}.Inbox1", SERVICE, f"{ROOT}/inbox")
    while True:
        while news:
            news.clear()
            while rows := call(bus, f"{ROOT}/inbox", "Inbox1", "Fetch", "stu", CONSUMER, 0, 32):
                for row in rows:
                    # Two programs that answer answers would never come to an end.
                    if "reply_to" not in row:
                        answer(bus, row)
                    call(bus, f"{ROOT}/inbox", "Inbox1", "Ack", "st", CONSUMER, row["inbox_seq"])
        GLib.MainContext.default().iteration(True)


if __name__ == "__main__":
    main()
