#!/usr/bin/env bash
# Gives a Debian 12 or 13 machine what the control machine needs: programs (apt), .venv from the lock, collections.
# Safe to repeat; when all is there it takes a fraction of a second and says nothing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=/usr/bin/python3 # the distribution's: what a pyenv or conda puts first on PATH differs from machine to machine

fail() {
  echo "bootstrap: $*" >&2
  exit 1
}

# A file or program that must exist, and the package that brings it.
needed=(
  podman:podman crun:crun /usr/lib/podman/netavark:netavark /usr/lib/podman/aardvark-dns:aardvark-dns iptables:iptables
  mmdebstrap:mmdebstrap /usr/share/keyrings/debian-archive-keyring.gpg:debian-archive-keyring ip:iproute2 nsenter:util-linux
  ssh:openssh-client git:git make:make mvn:maven npm:npm "$python":python3 dpkg-deb:dpkg
)

missing=()
export PATH="$PATH:/usr/sbin:/sbin"
for entry in "${needed[@]}"; do
  thing=${entry%%:*} package=${entry##*:}
  if [[ $thing == /* ]]; then [[ -e $thing ]] || missing+=("$package"); else command -v "$thing" >/dev/null || missing+=("$package"); fi
done
"$python" -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)

if ((${#missing[@]})); then
  command -v apt-get >/dev/null || fail "missing: ${missing[*]}; this script installs them on Debian 12 or 13 only"
  ((EUID == 0)) || fail "missing: ${missing[*]}; run it as root once, or: apt-get install ${missing[*]}"
  echo "bootstrap: installing ${missing[*]}"
  install=(env DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet=2 --no-install-recommends "${missing[@]}")
  log=$(mktemp)
  # Only lists that are absent or outdated need a refresh, which takes longer than most installations.
  "${install[@]}" >"$log" 2>&1 || { apt-get update --quiet=2 >>"$log" 2>&1 && "${install[@]}" >>"$log" 2>&1; } ||
    fail "apt-get install ${missing[*]} failed: $(grep -m1 '^E:' "$log" || tail -n1 "$log") (all of it: $log)"
  rm "$log"
fi

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "$python is older than 3.11; use Debian 12 or newer"

mkdir -p .cache
exec 9>.cache/bootstrap.lock
flock 9

# .venv: exactly the lock. Anew when the lock or the interpreter changed: pip leaves behind what a lock no longer names.
lock=requirements/control.txt
want="$("$python" -V) $(sha256sum <"$lock")"
if [[ ! -x .venv/bin/python || $(cat .venv/locked 2>/dev/null) != "$want" ]]; then
  echo "bootstrap: making .venv from $lock"
  "$python" -m venv --clear .venv
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement "$lock" ||
    fail "pip could not install $lock; see above, and run the same command again"
  echo "$want" >.venv/locked
fi

# Collections: those of collections/requirements.yml, out of the one hashed wheel of requirements/collections.txt.
want=$(cat collections/requirements.yml requirements/collections.txt | sha256sum)
if [[ $(cat .collections/unpacked 2>/dev/null) != "$want" ]]; then
  .venv/bin/python -m tools.collections || fail "the collections could not be unpacked; see above"
  echo "$want" >.collections/unpacked
fi
