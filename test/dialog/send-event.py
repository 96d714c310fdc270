#!/usr/bin/env python3
"""Sends core events to a window with XSendEvent, the way a program pretends to be a keyboard or a mouse.

usage: send-event.py WINDOW key KEYSYM...
       send-event.py WINDOW click X Y
       send-event.py WINDOW close           asks the window manager to close it
"""
import sys

from Xlib import X, XK
from Xlib.display import Display
from Xlib.protocol import event

display = Display()
window = display.create_resource_object("window", int(sys.argv[1]))
common = dict(time=X.CurrentTime, root=display.screen().root, window=window, child=X.NONE, same_screen=1)


def send(kind, detail, x=1, y=1, state=0):
    # An empty mask: delivered to the client that made the window, whatever it has asked to hear of.
    window.send_event(kind(detail=detail, state=state, event_x=x, event_y=y, root_x=x, root_y=y, **common),
                      event_mask=0)


if sys.argv[2] == "key":
    for name in sys.argv[3:]:
        code = display.keysym_to_keycode(XK.string_to_keysym(name))
        send(event.KeyPress, code)
        send(event.KeyRelease, code)
elif sys.argv[2] == "close":
    from_pager = 2
    closing = event.ClientMessage(window=window, client_type=display.intern_atom("_NET_CLOSE_WINDOW"),
                                  data=(32, [X.CurrentTime, from_pager, 0, 0, 0]))
    display.screen().root.send_event(closing, event_mask=X.SubstructureRedirectMask | X.SubstructureNotifyMask)
else:
    x, y = int(sys.argv[3]), int(sys.argv[4])
    send(event.ButtonPress, 1, x, y)
    send(event.ButtonRelease, 1, x, y, X.Button1Mask)
display.sync()
