#!/bin/sh
# Set up the real Nix programs that tests compare with, and print where they are.
#
#   tests/nix.sh            prints lines to eval:  LAMBDA_OS_NIX='…'  LAMBDA_OS_NIX_OLD='…'
#
# LAMBDA_OS_NIX is a current Nix (Debian sid, 2.34), made relocatable: the program, its libraries
# and nothing else, so that it runs beside whatever the machine has. LAMBDA_OS_NIX_OLD is Debian
# 12's 2.8, from the machine's own packages. Both come from the Debian mirror that this machine
# already uses; nothing else is asked. Idempotent: what is there is left alone. A Nix that cannot be
# had is said on stderr and left out, and the tests that need it then say that they are skipped.
#
# LAMBDA_OS_NIX_CACHE is where they go (default: target/nix). Needs root for apt, and Debian.
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
cache=${LAMBDA_OS_NIX_CACHE:-$here/target/nix}
mkdir -p "$cache"

say() { echo "tests/nix.sh: $*" >&2; }

packages() {
    missing=
    for package; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
    done
    [ -z "$missing" ] && return 0
    command -v apt-get >/dev/null || { say "no apt-get to install$missing with"; return 1; }
    # shellcheck disable=SC2086 # a list of package names
    DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Check-Valid-Until=false install \
        -qq -y --no-install-recommends $missing >"$cache/apt.log" 2>&1 ||
        { apt-get -qq update >>"$cache/apt.log" 2>&1 &&
            # shellcheck disable=SC2086
            DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $missing \
                >>"$cache/apt.log" 2>&1; } ||
        { say "cannot install$missing: see $cache/apt.log"; return 1; }
}

# The Debian mirror of this machine, from either form of its sources.
mirror() {
    for list in /etc/apt/sources.list.d/*.sources /etc/apt/sources.list; do
        [ -r "$list" ] || continue
        awk '/^URIs:/ { print $2; exit } /^deb / { for (i = 2; i <= NF; i++) if ($i ~ /^https?:/) { print $i; exit } }' "$list"
    done | grep -v security | head -n 1
}

current() {
    nix=$cache/current/bin/nix
    [ -x "$nix" ] && "$nix" --version >/dev/null 2>&1 && return 0
    packages mmdebstrap patchelf || return 1
    url=$(mirror)
    [ -n "$url" ] || { say "no Debian mirror in /etc/apt"; return 1; }
    work=$cache/work.$$
    rm -rf "$work" "$cache/current.new"
    mkdir -p "$work" "$cache/current.new/bin" "$cache/current.new/lib"
    mmdebstrap -q --variant=extract \
        --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='Acquire::Languages "none"' \
        --aptopt='APT::Install-Recommends "false"' --include=nix-bin sid "$work/root" "$url" \
        >"$cache/mmdebstrap.log" 2>&1 || { say "cannot extract nix-bin: see $cache/mmdebstrap.log"; rm -rf "$work"; return 1; }
    loader=$(find "$work/root/usr/lib" "$work/root/lib64" -name 'ld-linux*.so.*' 2>/dev/null | head -n 1)
    libraries=$(dirname "$loader")
    cp "$work/root/usr/bin/nix" "$cache/current.new/bin/nix"
    "$loader" --library-path "$libraries" --list "$cache/current.new/bin/nix" |
        sed -n 's/.*=> \(\/[^ ]*\).*/\1/p' | while read -r library; do
        cp -L "$library" "$cache/current.new/lib/" 2>/dev/null || cp -L "$work/root$library" "$cache/current.new/lib/"
    done
    cp -L "$loader" "$cache/current.new/lib/"
    # The final place, not the temporary one, is written into the program.
    patchelf --set-interpreter "$cache/current/lib/$(basename "$loader")" \
        --force-rpath --set-rpath "$cache/current/lib" "$cache/current.new/bin/nix"
    for name in nix-build nix-instantiate nix-store nix-daemon nix-shell; do
        ln -sf nix "$cache/current.new/bin/$name"
    done
    rm -rf "$cache/current"
    mv "$cache/current.new" "$cache/current"
    rm -rf "$work"
    "$nix" --version >/dev/null
}

old() {
    packages nix-bin || return 1
    command -v nix >/dev/null
}

if current; then
    say "$("$cache/current/bin/nix" --version)"
    echo "LAMBDA_OS_NIX='$cache/current/bin/nix'; export LAMBDA_OS_NIX"
else
    say "no current Nix: comparisons with it will be skipped"
fi
if old; then
    say "$(nix --version)"
    echo "LAMBDA_OS_NIX_OLD='$(command -v nix)'; export LAMBDA_OS_NIX_OLD"
else
    say "no Debian Nix: comparisons with it will be skipped"
fi
