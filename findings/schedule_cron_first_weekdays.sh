#!/usr/bin/env bash
# Schedule::Cron 1.05 (CPAN; Debian's libschedule-cron-perl) skips the first days of a month to come.
#
# Expected: "0 0 * 1 *" and "0 0 * 1 0-6" are due on the same days, each day of January, and so is a Friday that is
#   the first of January for "0 0 * 1 5,6".
# Happens: asked in another month, the module looks for the days of the week from today's one on. Asked on Monday,
#   2026-11-30, "0 0 * 1 0-6" is first due on Monday, 2027-01-04: January 1st to 3rd are never run. From February on
#   (asked within the month) nothing is skipped.
# Output seen (version 1.05, Perl 5.36):
#   0 0 * 1 *: 2027-01-01
#   0 0 * 1 0-6: 2027-01-04
# Exit status: 0 as stated, 1 changed, 2 the packages could not be had.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
fetch() { # name of the distribution's archive below CPAN's authors
    curl -fsSL --max-time 60 -o "$folder/$2.tar.gz" "https://cpan.metacpan.org/authors/id/$1" || return 1
    mkdir "$folder/$2" && tar -xzf "$folder/$2.tar.gz" -C "$folder/$2" --strip-components 1
}
if ! { fetch R/RO/ROLAND/Schedule-Cron-1.05.tar.gz cron &&
    fetch M/MU/MUIR/modules/Time-ParseDate-2015.103.tar.gz date; } 2>/dev/null; then
    # Without CPAN: the same modules from Debian's packages, unpacked and not installed.
    (cd "$folder" && apt-get download -qq libschedule-cron-perl libtime-parsedate-perl >/dev/null 2>&1) ||
        { echo "the packages could not be had"; exit 2; }
    for package in "$folder"/*.deb; do dpkg-deb -x "$package" "$folder/deb"; done
fi
ask() {
    TZ=UTC perl -I "$folder/cron/lib" -I "$folder/date/lib" -I "$folder/deb/usr/share/perl5" -MSchedule::Cron -MPOSIX=strftime -e '
        my $cron = Schedule::Cron->new(sub {});
        # Monday, 2026-11-30 04:00
        print strftime("%Y-%m-%d", gmtime $cron->get_next_execution_time($ARGV[0], 1796011200)), "\n"' "$1"
}
every=$(ask '0 0 * 1 *')
weekdays=$(ask '0 0 * 1 0-6')
echo "0 0 * 1 *: $every"
echo "0 0 * 1 0-6: $weekdays"
[ "$every" = 2027-01-01 ] && [ "$weekdays" = 2027-01-04 ] || { echo "the behaviour has changed"; exit 1; }
