# The machines and the flavours that are built for. Read by the scripts of this folder and of packages/; nothing here runs.
# A line a target: Rust's name, Debian's name of the architecture, QEMU's name of the processor.
TARGETS="
x86_64-unknown-linux-musl       amd64  x86_64
aarch64-unknown-linux-musl      arm64  aarch64
armv7-unknown-linux-musleabihf  armhf  arm
"

# A line a flavour: its name, its Cargo profile, and the arguments that choose its features.
FLAVOURS="
poller  poller   --no-default-features
full    release
"

# The arguments that choose a flavour's features.
flavour_features() { awk -v name="$1" '$1 == name { $1 = $2 = ""; print }' <<<"$FLAVOURS"; }

target_names() { awk 'NF { print $1 }' <<<"$TARGETS"; }
target_architectures() { awk 'NF { print $2 }' <<<"$TARGETS"; }
flavour_names() { awk 'NF { print $1 }' <<<"$FLAVOURS"; }

# target_field NAME COLUMN, flavour_field NAME COLUMN: nothing for an unknown name.
target_field() { awk -v name="$1" -v column="$2" '$1 == name { print $column }' <<<"$TARGETS"; }
flavour_field() { awk -v name="$1" -v column="$2" '$1 == name { print $column }' <<<"$FLAVOURS"; }

# The words of a list on one line, for messages.
one_line() { paste -sd ' ' | sed 's/ /, /g'; }
