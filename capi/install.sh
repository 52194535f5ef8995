#!/usr/bin/env bash
# Builds the libraries and installs them with headers and a pkg-config file, laid out as
# cargo-c lays them out:
#
#   capi/install.sh                                   into /usr/local
#   PREFIX=$HOME/.local capi/install.sh               into a folder of one's own
#   PREFIX=/usr LIBDIR=/usr/lib64 DESTDIR=/tmp/package capi/install.sh
#
# Needs cargo, install(1) and strip(1). A library that the dynamic linker does not find by
# itself is found by those programs that pkg-config's flags link to it.
#
# Programs that need no other file at run time are linked by
#
#   gcc -static -o program program.c $(pkg-config --static --cflags --libs hugepool)
#
# In those glibc tells nobody where its restartable sequences are, so the caches do without,
# at some times the cost, unless GLIBC_TUNABLES=glibc.pthread.rseq=0 is in their environment:
# then the pool registers its own. Those that have this library alone inside, with
# `-l:libhugepool.a` for `-lhugepool` in what the same pkg-config says, need nothing of that.
set -euo pipefail
cd "$(dirname "$0")/.."

prefix=${PREFIX:-/usr/local}
libdir=${LIBDIR:-$prefix/lib}
includedir=${INCLUDEDIR:-$prefix/include}
destdir=${DESTDIR:-}
target=${CARGO_TARGET_DIR:-target}

version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
: "${version:?Cargo.toml says no version}"
# What the shared library is called by those who are linked to it: build.rs says the same.
core=${version%%[-+]*}
case $core in
    0.*) major=${core%.*} ;;
    *) major=${core%%.*} ;;
esac

# Where cargo puts them: for this machine, or for the one that CARGO_BUILD_TARGET names.
built=$target/${CARGO_BUILD_TARGET:+$CARGO_BUILD_TARGET/}release
# What is there already is not taken for what is built now.
rm -f "$built/libhugepool.a" "$built/libhugepool.so"
cargo build --locked --release -p hugepool-capi --target-dir "$target"
for library in a so; do
    if [ ! -f "$built/libhugepool.$library" ]; then
        echo "cargo did not put libhugepool.$library into $built: is build.target set in a configuration?" >&2
        exit 1
    fi
done

# Where the dynamic linker looks by itself (ld.so(8); ldconfig(8) has to be run there).
case $libdir in
    /lib | /lib64 | /usr/lib | /usr/lib64 | /lib/*-linux-gnu | /usr/lib/*-linux-gnu | /usr/local/lib)
        rpath= ;;
    *)
        rpath=" -Wl,-rpath,\${libdir}" ;;
esac

install -d "$destdir$includedir/hugepool" "$destdir$libdir/pkgconfig"
install -m 644 include/*.h include/*.hpp "$destdir$includedir/hugepool/"
install -m 644 "$built/libhugepool.a" "$destdir$libdir/"
install -m 755 "$built/libhugepool.so" "$destdir$libdir/libhugepool.so.$version"
# Names for a debugger take more room than the code.
strip --strip-debug "$destdir$libdir/libhugepool.a" "$destdir$libdir/libhugepool.so.$version"
ln -sf "libhugepool.so.$version" "$destdir$libdir/libhugepool.so.$major"
ln -sf "libhugepool.so.$major" "$destdir$libdir/libhugepool.so"
cat >"$destdir$libdir/pkgconfig/hugepool.pc" <<END
prefix=$prefix
libdir=$libdir
includedir=$includedir

Name: hugepool
Description: hugepool for C and C++
Version: $version
Cflags: -I\${includedir}/hugepool
Libs: -L\${libdir}$rpath -lhugepool
Libs.private: -lutil -lrt -lpthread -lm -ldl
END
echo "installed hugepool $version into $destdir$prefix"
if [ -z "$rpath$destdir" ]; then
    echo "run ldconfig as root if programs do not find $libdir/libhugepool.so.$major"
fi
