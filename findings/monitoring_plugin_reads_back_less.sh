#!/usr/bin/env bash
# Monitoring::Plugin 0.40 (CPAN; Debian's libmonitoring-plugin-perl) does not read back the performance data that it writes.
#
# Expected: parse_perfstring gives what perfoutput of the same module wrote, or an error (the module is told to die).
# Happens: a threshold with `@` (alert inside the range), which the module's own ranges know and write, is read as no
#   threshold; a unit with a slash is dropped or cut; an item with the value U (not known, in the plugin guidelines) and
#   an item whose label has an apostrophe are left out, without an error, and the items behind them are read.
# Output seen (Perl 5.36):
#   load=3;@5:9;@1:2 -> load=3;; other=1;;
#   rate=3b/s;5;9 -> rate=3b;; other=1;;
#   load=U;5;9 -> other=1;;
#   it's=3;5;9 -> other=1;;
# Exit status: 0 as stated, 1 changed, 2 the packages could not be had.
set -u
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 2
apt-get download -qq libmonitoring-plugin-perl=0.40-1 libclass-accessor-perl libmath-calc-units-perl libparams-validate-perl \
    libconfig-tiny-perl libmodule-implementation-perl libmodule-runtime-perl libtry-tiny-perl >/dev/null 2>&1 ||
    { echo "the packages could not be had"; exit 2; }
for package in *.deb; do dpkg-deb -x "$package" root; done
cat >back.pl <<'PERL'
use Monitoring::Plugin;
use Monitoring::Plugin::Performance use_die => 1;
use Monitoring::Plugin::Threshold;

for (['load', 3, '', '@5:9', '@1:2'], ['rate', 3, 'b/s', 5, 9], ['load', 'U', '', 5, 9], ["it's", 3, '', 5, 9]) {
    my ($label, $value, $unit, $warning, $critical) = @$_;
    my $threshold = Monitoring::Plugin::Threshold->set_thresholds(warning => $warning, critical => $critical);
    my $written = Monitoring::Plugin::Performance->new(
        label => $label, value => $value, uom => $unit, threshold => $threshold)->perfoutput;
    my @read = Monitoring::Plugin::Performance->parse_perfstring("$written other=1");
    print "$written -> ", join(' ', map { $_->perfoutput } @read), "\n";
}
PERL
seen=$(perl -Iroot/usr/share/perl5 -I"$(echo root/usr/lib/*/perl5/5.*)" back.pl)
echo "$seen"
[ "$seen" = 'load=3;@5:9;@1:2 -> load=3;; other=1;;
rate=3b/s;5;9 -> rate=3b;; other=1;;
load=U;5;9 -> other=1;;
it'"'"'s=3;5;9 -> other=1;;' ] || { echo "changed: the items read back differ from those stated"; exit 1; }
