#!/bin/sh
# The entry of a container: runs its command, the demo by default, in the project's folder, or in a copy of it where
# that cannot be written (a read-only root, Apptainer). Results and page are copied to /out, if that is there.
set -eu
cd "${PROJECT:-/replicate}"
if [ ! -w . ]; then
  copy=$(mktemp -d)
  tar -c . | tar -x -C "$copy"
  cd "$copy"
fi
"$@"
out=${OUT:-/out}
if [ -d "$out" ] && [ -f report/index.html ]; then
  cp -r report/index.html results "$out/"
fi
