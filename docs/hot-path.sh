#!/usr/bin/env bash
# Compiles examples/hot_path.rs as a user of the library would, follows the hot
# path of its functions, and writes the counts and listings into docs/hot-path.md.
#
#   docs/hot-path.sh           writes the page
#   docs/hot-path.sh --check   compares the page's counts with those of today
#
# Fails if there is a locked instruction, a call or a division on a hot path, or if
# it is longer than the limit below. Needs cargo, binutils and python3; x86-64.
set -euo pipefail
cd "$(dirname "$0")/.."

# The most instructions a hot path may have, with the frame of the function.
limits=(allocate_by_size=78 allocate_by_class=56 drop_buffer=32 allocate_raw=88 free_raw=76)

case "${1-}" in
    "") task=write ;;
    --check) task=check ;;
    *)
        sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
        exit 2
        ;;
esac
for tool in cargo objdump readelf nm addr2line python3; do
    command -v "$tool" >/dev/null || { echo "$tool is not installed" >&2; exit 2; }
done
[ "$(rustc -vV | sed -n 's/^host: \([^-]*\).*/\1/p')" = x86_64 ] || {
    echo "what is followed here is x86-64 machine code" >&2
    exit 2
}

# The default release profile, whatever the caller's environment says.
unset RUSTFLAGS CARGO_ENCODED_RUSTFLAGS CARGO_BUILD_RUSTFLAGS CARGO_BUILD_TARGET
for name in "${!CARGO_PROFILE_RELEASE_@}"; do unset "$name"; done
# The listings' comments come from the line tables; the code is the same without.
export CARGO_PROFILE_RELEASE_DEBUG=line-tables-only
# A package that depends on the library alone: cargo would build what its tests need, too, and
# that takes minutes.
package=target/hot-path
mkdir -p "$package"
cp Cargo.lock "$package/"
cat >"$package/Cargo.toml" <<END
[package]
name = "hot-path"
edition = "2024"

[[bin]]
name = "hot_path"
path = "../../examples/hot_path.rs"

[dependencies]
hugepool = { path = "../.." }

[workspace]
END
program=$(cargo build --quiet --release --manifest-path "$package/Cargo.toml" --target-dir "$package" \
    --message-format=json | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
[ -n "$program" ] || { echo "cargo built no program" >&2; exit 1; }

python3 docs/hot-path.py "$program" "$(rustc --version)" docs/hot-path.md "$task" "${limits[@]}"
