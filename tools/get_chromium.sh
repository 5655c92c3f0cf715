#!/bin/sh
# Makes sure that there is a Chromium for the tests of the chat page.
#
# get_chromium.sh [python]    the Python whose Playwright fetches one where no package manager can
set -eu

python=${1:-python3}

for name in chromium chromium-browser google-chrome google-chrome-stable; do
    # Ubuntu has a command of that name that only points to a snap: it must run to count.
    if "$name" --version >/dev/null 2>&1; then
        exit 0
    fi
done

if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    apt-get update -qq
    if DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium \
        && chromium --version >/dev/null 2>&1; then
        exit 0
    fi
fi

exec "$python" -m playwright install chromium
