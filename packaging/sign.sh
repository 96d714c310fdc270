#!/usr/bin/env bash
# sign.sh KEY PACKAGE DIRECTORY: signs a package that `npm run rpm` built, into DIRECTORY, and puts the public key beside it.
#
# On a machine of its own, with the signing key, which the building machine never sees. KEY is what gpg knows it by. What is
# inside does not change, and that is checked: the digest of the header, which covers everything, stays as it was built.
set -euo pipefail

if [ $# -ne 3 ]; then
  echo 'Say which key, which package, and where to: packaging/sign.sh KEY PACKAGE DIRECTORY' >&2
  exit 2
fi
key=$1 package=$2 directory=$3
signed=$directory/$(basename "$package")
if [ -e "$signed" ]; then
  echo "$signed is there already. Name another directory." >&2
  exit 1
fi

database=$(mktemp -d)
trap 'rm -rf "$database"' EXIT
header() { rpm --dbpath "$database" --nosignature -qp --queryformat '%{SHA256HEADER}\n' "$1"; }

mkdir -p "$directory"
cp "$package" "$signed"
if ! rpmsign --addsign --define "__gpg $(command -v gpg)" --define "_gpg_name $key" --define "_dbpath $database" "$signed" >/dev/null; then
  rm -f "$signed"
  echo "gpg did not sign with $key. Nothing was signed." >&2
  exit 1
fi
gpg --armor --export "$key" >"$directory/RPM-GPG-KEY-qmcp-broker"

rpmkeys --dbpath "$database" --import "$directory/RPM-GPG-KEY-qmcp-broker"
if ! rpmkeys --dbpath "$database" --checksig "$signed" | grep -q ': digests signatures OK$'; then
  rm -f "$signed"
  echo "The signature of $package cannot be verified with the key's public half. Nothing was signed." >&2
  exit 1
fi
if [ "$(header "$signed")" != "$(header "$package")" ]; then
  rm -f "$signed"
  echo "Signing changed what is inside $package. Nothing was signed." >&2
  exit 1
fi
echo "$signed"
echo "Header SHA-256 $(header "$signed")"
