# Copyright (C) The nginx-broadcast authors
#
# Sourced by the commands of util/: what they say, and the Debian packages
# they need.  The caller has set $me (its name) and $top (the checkout).

PATH=$PATH:/usr/sbin:/sbin


say()
{
    printf '%s: %s\n' "$me" "$*"
}


die()
{
    printf '%s: error: %s\n' "$me" "$1" >&2
    shift
    [ $# -eq 0 ] || printf '    %s\n' "$@" >&2
    exit 1
}


as_root()
{
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "this needs root, and there is no sudo: $*" \
            "run that line as root, then this command again"
    fi
}


# need_packages why package[=command]...
#
# Installs what is missing.  A package given with a command is there if the
# command is: nodejs and nginx also come from elsewhere than Debian.

need_packages()
{
    local why=$1 missing=() p
    shift

    for p in "$@"; do
        case $p in
        *=*)
            PATH=$PATH:/usr/sbin:/sbin command -v "${p#*=}" >/dev/null \
                || missing+=("${p%%=*}")
            ;;
        *)
            case $(dpkg-query -W -f '${db:Status-Abbrev}' "$p" 2>/dev/null) in
            ?i*) ;;
            *)   missing+=("$p") ;;
            esac
            ;;
        esac
    done

    [ ${#missing[@]} -gt 0 ] || return 0

    command -v apt-get >/dev/null \
        || die "missing for $why: ${missing[*]}" \
               "these are Debian's names; install your system's packages of them"

    say "installing for $why: ${missing[*]}"

    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq
               -o DPkg::Lock::Timeout=300)
    local log
    log=$(mktemp)

    as_root "${apt[@]}" update </dev/null >"$log" 2>&1 \
        || say "apt-get update had errors, trying with the lists as they are"

    as_root "${apt[@]}" install -y --no-install-recommends "${missing[@]}" \
        </dev/null >>"$log" 2>&1 \
        || { tail -n 20 "$log" >&2
             rm -f "$log"
             die "the packages could not be installed (apt-get's words above)" \
                 "try: apt-get install ${missing[*]}"; }

    rm -f "$log"
}


packages_build=(gcc libc6-dev make pkg-config nginx=nginx nginx-dev
                libpq-dev libjansson-dev libmsgpack-dev libssl-dev
                libpcre2-dev zlib1g-dev)
packages_page=(ca-certificates nodejs=node npm=npm)


# pg_bindir: where the newest installed PostgreSQL server's programs are

pg_bindir()
{
    local d

    for d in $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -t/ -k5 -Vr)
    do
        if [ -x "$d/initdb" ]; then
            echo "$d"
            return 0
        fi
    done

    d=$(command -v initdb) && dirname "$d"
}
