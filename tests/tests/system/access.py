"""Calls Manager1 on one connection: a call a line, as JSON; answers a line each: null or what came, or the error."""
import json
import sys

import dbus
import dbus.bus

NAME, ROOT = "org.kith.Messenger1", "/org/kith/Messenger1"
bus = dbus.bus.BusConnection(sys.argv[1])
manager = dbus.Interface(bus.get_object(NAME, ROOT, introspect=False), NAME + ".Manager1")
for line in sys.stdin:
    method, *arguments = json.loads(line)
    arguments = [dbus.Dictionary({}, signature="sv") if argument == {} else argument for argument in arguments]
    try:
        answer = getattr(manager, method)(*arguments)
        answer = int(answer) if isinstance(answer, dbus.UInt32) else answer
        print(json.dumps({"answer": answer}), flush=True)
    except dbus.DBusException as error:
        name = error.get_dbus_name().removeprefix(NAME + ".Error.")
        print(json.dumps({"error": name, "sentence": error.get_dbus_message()}), flush=True)
