#!/bin/sh
# Makes configure. Needed once, in a checkout; a release tarball brings its own.
cd "$(dirname "$0")" && exec autoreconf --force --install
