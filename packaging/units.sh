#!/bin/sh
# units install|upgrade|remove COUNT: what the package's scriptlets want from systemd. COUNT is theirs: how many versions
# of the package are installed once the scriptlet has run.
#
# dom0's systemd brings a helper for this, which also tells the managers of users who are logged in; where there is none,
# the same is done here. Nothing of it may fail the installation.
helper=/usr/lib/systemd/systemd-update-helper
system='qmcp-brokerd.socket qmcp-brokerd.service'
user=qmcp-confirm.socket

command -v systemctl >/dev/null || exit 0
runs() { [ -d /run/systemd/system ]; }

# in_sessions ARG...: systemctl --user ARG... for everyone who is logged in.
in_sessions() {
  runs || return 0
  for uid in $(systemctl list-units --legend=no 'user@*.service' | sed -n 's/.*user@\([0-9]*\)\.service.*/\1/p'); do
    systemctl --user -M "$uid@" "$@" || :
  done
}

case $1 in
  install)
    if runs && command -v systemd-tmpfiles >/dev/null; then systemd-tmpfiles --create qmcp-broker.conf || :; fi
    # By preset, and only once: what the operator has enabled or disabled since stays as it is.
    if [ "$2" -eq 1 ]; then
      if [ -x "$helper" ]; then
        "$helper" install-system-units $system || :
        "$helper" install-user-units $user || :
      else
        systemctl --no-reload preset $system || :
        systemctl --no-reload preset --global $user || :
        if runs; then systemctl daemon-reload || :; fi
      fi
    fi
    ;;
  upgrade)
    # The service alone: its socket stays, and calls wait there for the new one.
    if [ -x "$helper" ]; then
      "$helper" mark-restart-system-units qmcp-brokerd.service || :
    elif runs; then
      systemctl daemon-reload || :
      in_sessions daemon-reload
      systemctl try-restart qmcp-brokerd.service || :
    fi
    ;;
  remove)
    [ "$2" -eq 0 ] || exit 0
    if [ -x "$helper" ]; then
      "$helper" remove-user-units $user || :
      "$helper" remove-system-units $system || :
    else
      systemctl --no-reload disable --global $user || :
      in_sessions stop $user
      systemctl --no-reload disable $system || :
      if runs; then systemctl stop $system || :; fi
    fi
    in_sessions stop 'qmcp-confirm@*.service'
    ;;
esac
exit 0
