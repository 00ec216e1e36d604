//! The names of all options of all maps in the files. The readers assert in debug builds that each option they read is
//! listed here, `docs/options.md` is checked against this list, and a key that is not listed is unknown.

/// The options of one map.
pub(super) struct Options {
    /// Name of the map in the documentation.
    pub(super) name: &'static str,
    /// Position of the map, for messages.
    pub(super) place: &'static str,
    /// The options that are read.
    pub(super) read: &'static [&'static str],
    /// Keys of the original that have no use here and cause no warning. `name_*` stands for all keys that begin with
    /// `name_`.
    pub(super) unused: &'static [&'static str],
}

/// Lists the options of some maps.
macro_rules! options {
    ($($ident:ident = $name:literal in $place:literal { $($read:literal),* $(,)? } unused { $($unused:literal),*
        $(,)? })*) => {
        $(
            pub(in crate::config) static $ident: Options = Options {
                name: $name, place: $place, read: &[$($read),*], unused: &[$($unused),*],
            };
        )*
        /// All maps of this file.
        pub(in crate::config) static ALL: &[&Options] = &[$(&$ident),*];
    };
}

pub(super) use options;

options! {
    TOP = "top" in "the top of the file" { "name", "configuration", "gorgone", "centreon" } unused { "description" }
    CONFIGURATION = "configuration" in "'configuration'" {
        "gorgone", "centreon",
    } unused {
        "name", "description", "nodes",
    }
    GORGONE = "gorgone" in "'gorgone'" { "gorgonecore", "modules", "tpapi" } unused { "name", "description" }
    TPAPI = "tpapi" in "an entry of 'tpapi'" {
        "name", "base_url", "username", "password", "curlopts", "ssl_ca_file", "https_cert_no_verify",
    } unused { "backend" }
    TPAPI_CURL = "tpapi curlopts" in "'curlopts' of an entry of 'tpapi'" {
        "CURLOPT_SSL_VERIFYPEER",
    } unused {
        "CURLOPT_*",
    }
    CORE = "gorgonecore" in "'gorgonecore'" {
        "id", "hostname", "timeout", "external_com_type", "external_com_path", "external_com_cipher",
         "external_com_padding", "external_com_keysize", "external_com_rotation", "external_com_zmq_tcp_keepalive",
         "ipv6", "privkey", "pubkey", "authorized_clients", "fingerprint_mode", "link", "gorgone_db_type",
         "gorgone_db_name", "gorgone_db_host", "gorgone_db_port", "gorgone_db_user", "gorgone_db_password",
         "gorgone_db_autocreate_schema", "gorgone_db_synchronous", "db_batch_ms", "storage",
         "storage_max", "max_memory", "max_message_size", "log_severity", "log_format", "audit_log",
         "delegate", "cluster",
    } unused {
        "internal_com_*", "external_com_zmq_router_handover", "external_com_msg_size", "fingerprint_mgr", "proxy_name",
        "cipher", "keysize", "vector", "padding",
    }
    CLUSTER = "cluster" in "'cluster' of 'gorgonecore'" { "name", "member", "lease", "address" } unused {}
    DELEGATE = "delegate" in "'delegate' of 'gorgonecore'" { "node", "actions", "endpoints" } unused {}
    AUTHORIZED_CLIENT = "authorized_clients" in "an entry of 'authorized_clients'" {
        "key", "name", "node", "may",
    } unused {}
    MODULE = "modules" in "an entry of 'modules'" { "name", "package", "enable" } unused {}
    CENTREON = "centreon" in "'centreon'" { "database" } unused { "name", "description" }
    DATABASE = "centreon database" in "'centreon.database'" { "db_configuration", "db_realtime" } unused {}
    DB_CONFIGURATION = "centreon database db_configuration" in "a database of 'centreon.database'" {
        "dsn", "username", "password",
    } unused {}
}

impl Options {
    /// Whether `key` is allowed in this map without a warning.
    pub(super) fn knows(&self, key: &str) -> bool {
        self.reads(key)
            || self
                .unused
                .iter()
                .any(|name| name.strip_suffix('*').map_or(*name == key, |start| key.starts_with(start)))
    }

    /// Whether `key` is read.
    pub(super) fn reads(&self, key: &str) -> bool {
        self.read.contains(&key)
    }

    /// Suggests what an unknown `key` may mean: a known key with a similar name, or another map that has a key of this
    /// name. `all` are the other maps.
    pub(super) fn advice(&self, key: &str, all: &[&'static Options]) -> String {
        if let Some(name) = nearest(key, self.read) {
            return format!("; is '{name}' meant?");
        }
        let elsewhere = |wanted: &dyn Fn(&&&Options) -> bool| -> Vec<&str> {
            all.iter().filter(wanted).map(|options| options.place).take(3).collect()
        };
        let exact = elsewhere(&|options| options.reads(key));
        if !exact.is_empty() {
            return format!("; it belongs to {}", exact.join(" or "));
        }
        let found = all.iter().find_map(|options| nearest(key, options.read).map(|name| (name, options.place)));
        found.map(|(name, place)| format!("; is '{name}' meant? It belongs to {place}")).unwrap_or_default()
    }
}

/// Returns the name that is most similar to `key`. It differs in at most a third of the letters and in at most three.
pub(super) fn nearest<'a>(key: &str, names: &[&'a str]) -> Option<&'a str> {
    let simple = |text: &str| text.to_lowercase().replace('-', "_");
    let key = simple(key);
    let most = (key.chars().count() / 3).clamp(1, 3);
    let ranked = names.iter().map(|name| (distance(&key, &simple(name)), *name));
    ranked.filter(|(distance, _)| *distance <= most).min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

/// The Levenshtein distance of two words; words of more than 64 letters count as different from all others.
fn distance(left: &str, right: &str) -> usize {
    const LEN_MAX: usize = 64;
    let right: Vec<char> = right.chars().take(LEN_MAX).collect();
    if left.chars().count() > LEN_MAX {
        return LEN_MAX;
    }
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (line, letter) in left.chars().enumerate() {
        let mut diagonal = line;
        let mut before = line.saturating_add(1);
        for (place, other) in row.iter_mut().skip(1).zip(&right) {
            let replaced = diagonal.saturating_add(usize::from(letter != *other));
            diagonal = *place;
            before = replaced.min(before.saturating_add(1)).min(place.saturating_add(1));
            *place = before;
        }
        if let Some(first) = row.first_mut() {
            *first = line.saturating_add(1);
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distance_counts_letters() {
        for (left, right, expected) in
            [("module", "modules", 1), ("", "abc", 3), ("kitten", "sitting", 3), ("same", "same", 0), ("ab", "ba", 2)]
        {
            assert_eq!(distance(left, right), expected, "{left} {right}");
            assert_eq!(distance(right, left), expected, "{right} {left}");
        }
    }
}
