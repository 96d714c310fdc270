#!/usr/bin/env python3
"""Grabs the keyboard and the pointer for a moment, as a screen locker does; prints whether both could be had."""
from Xlib import X
from Xlib.display import Display

display = Display()
root = display.screen().root
keyboard = root.grab_keyboard(False, X.GrabModeAsync, X.GrabModeAsync, X.CurrentTime)
pointer = root.grab_pointer(False, 0, X.GrabModeAsync, X.GrabModeAsync, X.NONE, X.NONE, X.CurrentTime)
print("granted" if keyboard == pointer == X.GrabSuccess else "refused")
