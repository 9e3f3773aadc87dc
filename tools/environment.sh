#!/bin/sh
# Makes .venv hold the versions of a lock file; does nothing where it already does. `make` calls it:
#   PYTHON=python3 sh tools/environment.sh requirements.lock
#
# An environment is believed if an installation into it was finished (a copy of the lock file says so), its Python
# runs and is new enough, and it was made where it is: its scripts begin with the path of its Python. Any other is
# made anew. What cannot be made leaves nothing behind.
set -eu
lock=$1
venv=.venv
started=$(date +%s)
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
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
}

cmp -s "$lock" "$venv/$lock" && finished && exit 0
[ -f "$lock" ] || stop "There is no $lock here; run make in the project's folder."
finished || make_anew
echo "Installing $lock into $venv ..."
install --require-hashes -r "$lock"
# Every build of torch (CPU, CUDA, ROCm) has the same version and other bytes, so no list of digests would hold.
install -r requirements-torch.lock
[ -x "$venv/bin/snakemake" ] || stop "pip put the packages elsewhere than into $venv; see: $venv/bin/pip config list."
cp "$lock" "$venv/$lock"
echo "Installed $lock in $(($(date +%s) - started)) s."
