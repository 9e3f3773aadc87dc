#!/bin/sh
# Makes .venv hold the versions of a lock file; does nothing where it already does. `make` calls it:
#   PYTHON=python3 sh tools/environment.sh requirements.lock
# TORCH=cpu, cuda or a folder of PyTorch's own index, such as cu126, takes that build of torch; without it torch
# comes from where all packages come from. TORCH_INDEX names a mirror of that index.
#
# An environment is believed if an installation into it was finished (a copy of the lock file says so), its Python
# runs and is new enough, and it was made where it is: its scripts begin with the path of its Python. Any other is
# made anew. What cannot be made leaves nothing behind.
set -eu
lock=$1
venv=.venv
started=$(date +%s)
TORCH=${TORCH:-}
# Seconds between two lines on a long installation.
BEAT=${BEAT:-10}
PYTHON=${PYTHON:-python3}
NEW_ENOUGH='import sys; sys.exit(sys.version_info < (3, 11))'
# Settings of pip's configuration file that would put the packages elsewhere or refuse to install them.
export PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0

stop() { # stop SENTENCE: ends with it
  echo "$1" >&2
  exit 1
}

made_here() { # the folder that its activation names is this one; not after a move or a copy
  named=$(set +eu; unset VIRTUAL_ENV; . "$venv/bin/activate" > /dev/null 2>&1; echo "$VIRTUAL_ENV")
  [ "$named" -ef "$venv" ]
}

finished() {
  [ -f "$venv/requirements.lock" ] && [ -x "$venv/bin/snakemake" ] && [ -f "$venv/bin/activate" ] &&
    "$venv/bin/python" -I -S -c "$NEW_ENOUGH" 2> /dev/null && made_here
}

remove() { # takes away what is no finished environment, if it is one at all
  [ -e "$venv" ] || [ -L "$venv" ] || return 0
  [ ! -L "$venv" ] || stop "$venv is a link to no finished environment of this project; remove the link, then again."
  [ -d "$venv" ] || stop "$venv is no folder; move it away, then again."
  if [ ! -f "$venv/pyvenv.cfg" ] && [ ! -d "$venv/bin" ] && [ ! -d "$venv/lib" ] && [ -n "$(ls -A "$venv")" ]; then
    stop "$venv is a folder of something else than Python; move it away, then again."
  fi
  echo "$venv is unfinished, moved, or of another Python: it is made anew."
  rm -rf "$venv"
}

make_anew() {
  "$PYTHON" -c "$NEW_ENOUGH" 2> /dev/null ||
    stop "Python 3.11 or newer is needed, and $PYTHON is not; name one with: make ... PYTHON=python3.12."
  # A namespace without a version is what is left of ensurepip where a distribution takes it out.
  "$PYTHON" -c 'import ensurepip, venv; ensurepip.version()' 2> /dev/null ||
    stop "$PYTHON has no ensurepip, so it cannot make an environment; install that part of it (Debian and Ubuntu: \
apt install python3-venv), then again."
  remove
  trap 'rm -rf "$venv"' EXIT
  trap 'exit 130' HUP INT TERM
  "$PYTHON" -m venv "$venv" || stop "$PYTHON could not make $venv (see above)."
  trap - EXIT HUP INT TERM
}

install() { # install OPTION... FILE
  # What pip downloads lies below the environment until it is installed, so that its size tells how far it is.
  mkdir -p "$venv/tmp"
  TMPDIR=$PWD/$venv/tmp "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@" &
  pip=$!
  trap 'kill "$pip" 2> /dev/null; exit 130' HUP INT TERM
  waited=0
  while kill -0 "$pip" 2> /dev/null; do
    sleep 1
    waited=$((waited + 1))
    [ $((waited % BEAT)) -ne 0 ] || echo "  $waited s, $(du -sk "$venv" | awk '{print int($1 / 1024)}') MB"
  done
  wait "$pip"
  trap - HUP INT TERM
  rm -rf "$venv/tmp"
}

has_build() { # the build of torch that was asked for is there, or none was asked for
  [ -z "$TORCH" ] || [ "$(cat "$venv/torch-build" 2> /dev/null)" = "$TORCH" ]
}

cmp -s "$lock" "$venv/$lock" && finished && has_build && exit 0
[ -f "$lock" ] || stop "There is no $lock here; run make in the project's folder."
finished || make_anew
index=
if ! has_build; then # before anything is installed: an index that does not answer costs seconds
  index=$("$venv/bin/python" tools/torch_index.py "$TORCH") || exit 1
fi
echo "Installing $lock into $venv ..."
install --require-hashes -r "$lock"
# Every build of torch (CPU, CUDA, ROCm) has the same version and other bytes, so no list of digests would hold.
if [ -n "$index" ]; then
  # A build's version, 2.13.0+cpu, is above the plain one, so that pip prefers it.
  install --upgrade --extra-index-url "$index" -r requirements-torch.lock
  echo "$TORCH" > "$venv/torch-build"
else
  install -r requirements-torch.lock
fi
[ -x "$venv/bin/snakemake" ] || stop "pip put the packages elsewhere than into $venv; see: $venv/bin/pip config list."
cp "$lock" "$venv/$lock"
echo "Installed $lock in $(($(date +%s) - started)) s."
