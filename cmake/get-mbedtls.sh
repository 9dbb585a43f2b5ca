#!/bin/sh
# Fetches the source of Mbed TLS 3.6 from the distribution, as a source package through apt: the same mirror and the same
# chain of signatures as every package of this machine (InRelease, Sources, checksums of the files). Needs no root and
# touches neither apt's configuration nor its state.
#
#   get-mbedtls.sh DEST [SUITE]
#
# DEST becomes the unpacked tree; one that is there already is left alone. SUITE is the release that has 3.6 (default:
# trixie on Debian, the running release elsewhere). Several at once are safe: one fetches, the others wait for it.
set -eu

known_version=3.6.6
known_sha256=8fb65fae8dcae5840f793c0a334860a411f884cc537ea290ce1c52bb64ca007a

say() { printf '%s\n' "get-mbedtls: $*"; }
die() {
    say "$*" >&2
    cat >&2 <<'HELP'

Mbed TLS 3.6 could not be fetched from the distribution. What helps:
  * apt-get install dpkg-dev debian-archive-keyring ca-certificates util-linux, and apt-get update
  * or unpack any Mbed TLS 3.6 release yourself and configure with  -DMBEDTLS_SOURCE_DIR=/path/to/mbedtls-3.6.x
  * or build without the device's second TLS stack:  -DTB_MBEDTLS=OFF
HELP
    exit 1
}

if [ $# -lt 1 ] || [ $# -gt 2 ]; then
    say "usage: get-mbedtls.sh DEST [SUITE]" >&2
    exit 2
fi
dest=$1
is_there() { [ -f "$dest/include/mbedtls/build_info.h" ] && [ -f "$dest/library/psa_crypto.c" ]; }
if is_there; then exit 0; fi

for tool in apt-get dpkg-source flock sha256sum; do
    command -v $tool >/dev/null 2>&1 || die "$tool is not installed"
done
mkdir -p "$(dirname "$dest")" || die "cannot make the folder of $dest"
exec 9>"$dest.lock" || die "cannot write beside $dest"
flock 9
if is_there; then exit 0; fi # another one was quicker

# shellcheck source=/dev/null
. /etc/os-release
case ${ID:-} in
debian) suite=${2:-trixie} component=main keyring=/usr/share/keyrings/debian-archive-keyring.gpg ;;
ubuntu) suite=${2:-${VERSION_CODENAME:-}} component=universe keyring=/usr/share/keyrings/ubuntu-archive-keyring.gpg ;;
*) die "${PRETTY_NAME:-this system} is neither Debian nor Ubuntu" ;;
esac
[ -r $keyring ] || die "$keyring is not there"

work=$(mktemp -d "$dest.fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 143' TERM
trap 'exit 130' INT
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/package"

# What this machine installs from, less the suites that only amend a release: the first that has it is taken.
# shellcheck disable=SC2016 # apt's own variables
mirrors=$(apt-get indextargets --format '$(REPO_URI) $(COMPONENT) $(RELEASE)' 'Created-By: Packages' 2>/dev/null |
    awk '$2 == "main" && $1 $3 !~ /security|updates|backports|proposed/ && !seen[$1]++ { print $1 }')
[ -n "$mirrors" ] || die "apt has no source with component main"

cat >"$work/apt.conf" <<CONF
Dir::Etc::sourcelist "$work/mirror.sources";
Dir::Etc::sourceparts "-";
Dir::Etc::preferencesparts "-";
Dir::Etc::preferences "-";
Dir::State::lists "$work/lists";
Dir::Cache "$work/cache";
APT::Sandbox::User "$(id -u)";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::Retries "3";
CONF
export APT_CONFIG="$work/apt.conf" LC_ALL=C

fetch_from() {
    printf 'Types: deb-src\nURIs: %s\nSuites: %s\nComponents: %s\nSigned-By: %s\n' "$1" "$suite" $component $keyring \
        >"$work/mirror.sources"
    rm -rf "$work/lists" && mkdir -p "$work/lists/partial"
    apt-get -q update >"$work/log" 2>&1 &&
        (cd "$work/package" && apt-get -q source --only-source --download-only "mbedtls/$suite") >>"$work/log" 2>&1
}

found=
for mirror in $mirrors; do
    if fetch_from "$mirror"; then
        found=$mirror
        break
    fi
done
[ -n "$found" ] || { tail -n 15 "$work/log" >&2; die "no source of this machine has mbedtls of $suite"; }

set -- "$work"/package/*.dsc
[ -f "$1" ] || die "apt brought no source package"
version=$(sed -n 's/^Version: *//p' "$1" | head -n 1)
upstream=${version#*:}
upstream=${upstream%%-*}
case $upstream in
3.6.*) ;;
*) die "$suite has Mbed TLS $upstream; 3.6 is wanted" ;;
esac
set -- "$work"/package/*.orig.tar.*
sha256=
for file in "$@"; do
    case $file in *.asc) continue ;; esac
    sha256=$(sha256sum "$file" | cut -d ' ' -f 1)
done
[ -n "$sha256" ] || die "the source package has no upstream archive"
if [ "$upstream" = $known_version ] && [ "$sha256" != $known_sha256 ]; then
    die "the archive of $upstream has SHA-256 $sha256, $known_sha256 is wanted"
fi
dpkg-source --no-copy -x "$work"/package/*.dsc "$work/tree" >"$work/log" 2>&1 ||
    { tail -n 15 "$work/log" >&2; die "the source package cannot be unpacked"; }
# Without what is not built: tests and programs are most of it.
rm -rf "$work/tree/tests" "$work/tree/programs" "$work/tree/docs" "$work/tree/doxygen"
printf '%s\n' "$version" >"$work/tree/VERSION.distribution"
rm -rf "$dest"
mv "$work/tree" "$dest"
say "Mbed TLS $version of $suite, SHA-256 $sha256"
