#!/usr/bin/env python3
"""Stands in for xfce4-screensaver on the session bus: org.xfce.ScreenSaver with GetActive and ActiveChanged.

Reads from its input, one per line: lock, unlock, mute (answer no more), quit. Prints `ready` when it has the name.
"""
import sys

from gi.repository import Gio, GLib

NAME, PATH = "org.xfce.ScreenSaver", "/org/xfce/ScreenSaver"
INTERFACE = """<node><interface name="org.xfce.ScreenSaver">
  <method name="GetActive"><arg type="b" direction="out"/></method>
  <signal name="ActiveChanged"><arg type="b"/></signal>
</interface></node>"""

state = {"active": "locked" in sys.argv[1:], "mute": "mute" in sys.argv[1:]}
loop = GLib.MainLoop()


def answer(connection, sender, path, interface, method, arguments, invocation):
    if not state["mute"]:
        invocation.return_value(GLib.Variant("(b)", (state["active"],)))


def acquired(connection, name):
    connection.register_object(PATH, Gio.DBusNodeInfo.new_for_xml(INTERFACE).interfaces[0], answer, None, None)
    state["connection"] = connection


def command(channel, condition):
    word = sys.stdin.readline().strip()
    if word in ("", "quit"):
        loop.quit()
    elif word == "mute":
        state["mute"] = True
    else:
        state["active"] = word == "lock"
        state["connection"].emit_signal(None, PATH, NAME, "ActiveChanged", GLib.Variant("(b)", (state["active"],)))
    return True


Gio.bus_own_name(Gio.BusType.SESSION, NAME, 0, acquired, lambda *_: print("ready", flush=True), None)
GLib.io_add_watch(sys.stdin.fileno(), GLib.PRIORITY_DEFAULT, GLib.IO_IN | GLib.IO_HUP, command)
loop.run()
