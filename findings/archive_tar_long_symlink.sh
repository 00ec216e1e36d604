#!/usr/bin/env bash
# Archive::Tar 2.40 (in Perl 5.36; CPAN) cuts the target of a symlink at 100 bytes and says that all went well.
#
# Expected: an archive of GNU tar with a symlink whose target has 120 bytes is unpacked with that target, or extract()
#   says that it cannot. Long names of files are read: the module knows the entry of type L that is before them.
# Happens: it does not know the entry of type K, which is the same for targets, nor the pax header. The symlink is made
#   with the first 100 bytes as its target, the entry of type K becomes a file named @LongLink, extract() returns the
#   list of entries, and error() is empty.
# Output seen (version 2.40, Perl 5.36, GNU tar 1.34):
#   gnu: target of 100 bytes, @LongLink there, no error
#   pax: target of 100 bytes, no @LongLink, no error
# Exit status: 0 as stated, 1 changed, 2 the packages could not be had.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cpan=https://cpan.metacpan.org/authors/id/B/BI/BINGOS/Archive-Tar-2.40.tar.gz
if curl -fsSL --max-time 60 -o "$folder/cpan.tar.gz" "$cpan" 2>/dev/null; then
    mkdir "$folder/cpan" && tar -xzf "$folder/cpan.tar.gz" -C "$folder/cpan" --strip-components 1
    library=$folder/cpan/lib
else
    # Without CPAN: the same module from Debian 12's package, unpacked and not installed.
    (cd "$folder" && apt-get download -qq perl-modules-5.36 >/dev/null 2>&1) ||
        { echo "the packages could not be had"; exit 2; }
    dpkg-deb -x "$folder"/perl-modules-*.deb "$folder/deb"
    library=$(find "$folder/deb/usr/share/perl" -maxdepth 1 -name '5.*' -type d | head -n 1)
fi
mkdir "$folder/source"
ln -s "$(printf 'a%.0s' $(seq 120))" "$folder/source/link"
look() { # format of the archive
    tar --format="$1" -cf "$folder/$1.tar" -C "$folder/source" link
    mkdir "$folder/$1"
    (cd "$folder/$1" && perl -I "$library" -MArchive::Tar -e '
        Archive::Tar->VERSION == 2.40 or die "another version\n";
        my $tar = Archive::Tar->new($ARGV[0]) or die;
        my $done = $tar->extract;
        printf "target of %d bytes, %s, %s\n", length readlink("link"), (-e "\@LongLink" ? "\@LongLink there" : "no \@LongLink"),
            ($done && !$tar->error ? "no error" : "an error")' "../$1.tar")
}
gnu=$(look gnu)
pax=$(look pax)
echo "gnu: $gnu"
echo "pax: $pax"
[ "$gnu" = "target of 100 bytes, @LongLink there, no error" ] &&
    [ "$pax" = "target of 100 bytes, no @LongLink, no error" ] || { echo "the behaviour has changed"; exit 1; }
