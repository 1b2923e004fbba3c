#!/usr/bin/env bash
# Compares Ringmain with other libraries that carry messages, and with what the machine can do without any: builds all that build
# here, runs them in turns, prints tables, or with --json lines of JSON. `run.sh --help` tells the options.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here"

rivals=(iceoryx2 aeron zmq zenoh busrt ipmb t2-bus)
# What they need beside cargo: libzmq; a C compiler, libclang, and a newer CMake than most systems have, for Aeron.
packages=(libzmq3-dev pkg-config cmake clang libclang-dev uuid-dev libbsd-dev python3-venv)
target=${CARGO_TARGET_DIR:-$here/target}
log=$target/compare-logs

say() { printf '%s\n' "$*" >&2; }

install_packages() {
    local missing=() package
    command -v dpkg-query > /dev/null || {
        say "no Debian packages here: ${packages[*]} have to be there by other means"
        return
    }
    for package in "${packages[@]}"; do
        dpkg-query --show --showformat '${Status}' "$package" 2> /dev/null | grep -q 'install ok' || missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    if ((EUID)); then
        say "missing for some rivals, which only root can install: apt-get install ${missing[*]}"
        return
    fi
    { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes "${missing[@]}"; } > "$log/packages.log" 2>&1 ||
        say "cannot install ${missing[*]}: $log/packages.log"
}

# Aeron wants CMake 3.30.
newer_cmake() {
    local version
    version=$(cmake --version 2> /dev/null | awk 'NR == 1 { print $3 }')
    if [[ $(printf '3.30\n%s\n' "${version:-0}" | sort -V | head -n 1) != 3.30 ]]; then
        [[ -x $target/cmake/bin/cmake ]] ||
            { python3 -m venv "$target/cmake" && "$target/cmake/bin/pip" install 'cmake>=3.30,<4'; } > "$log/cmake.log" 2>&1 ||
            say "no CMake 3.30 for Aeron: $log/cmake.log"
        PATH=$target/cmake/bin:$PATH
    fi
}

# Each by itself: one that does not build stops nobody.
build() {
    local package=compare-$1
    cargo build --release --target-dir "$target" -p "$package" > "$log/$1.log" 2>&1
}

wanted() {
    local rival=$1 name
    [[ -v only_rivals ]] || return 0
    for name in ${only_rivals//,/ }; do
        [[ $rival == "${name//_/-}" ]] && return 0
    done
    return 1
}

arguments=("$@")
for ((index = 0; index < $#; index++)); do
    case ${arguments[index]} in
    --rivals) only_rivals=${arguments[index + 1]:-} ;;
    --rivals=*) only_rivals=${arguments[index]#*=} ;;
    esac
done

mkdir -p "$log"
say "building: $target"
for package in contest raw ringmain; do
    build "$package" || { say "$package does not build: $log/$package.log"; exit 1; }
done
programs=$target/release
needs_system=1
for rival in "${rivals[@]}"; do
    # A program of an earlier build would be of another harness.
    wanted "$rival" || continue
    if ((needs_system)); then
        install_packages
        newer_cmake
        needs_system=0
    fi
    build "$rival" || { say "$rival does not build, and does not take part: $log/$rival.log"; rm -f "$programs/compare-$rival"; }
done

scratch=$(mktemp -d /dev/shm/ringmain-compare.XXXXXX)
trap 'rm -rf "$scratch"' EXIT
"$programs/compare-contest" --programs "$programs" --scratch "$scratch" "$@"
