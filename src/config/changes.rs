//! Reload of the configuration while the daemon runs: which changes take effect at once, and which need a restart.
//!
//! [`take_over`] is the only list of both. Out of scope: the nodes of the register file, which is reloaded separately.

use super::Config;
use super::modules::action::ActionSettings;
use super::modules::httpserver::HttpSettings;
use super::modules::proxy::ProxySettings;

/// The differences between two configurations.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Changes that have taken effect, one sentence each.
    pub taken: Vec<String>,
    /// Options whose new value takes effect at the next start.
    pub after_restart: Vec<&'static str>,
}

impl Changes {
    /// Whether there are no differences.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.taken.is_empty() && self.after_restart.is_empty()
    }
}

/// Notes the options in which two values differ.
macro_rules! after_restart {
    ($changes:ident, $old:expr, $new:expr, { $($key:literal: $($field:ident).+),+ $(,)? }) => {
        $(if $old.$($field).+ != $new.$($field).+ {
            $changes.after_restart.push($key);
        })+
    };
}

/// Takes over the options in which two values differ.
macro_rules! take {
    ($changes:ident, $old:expr, $new:expr, { $($key:literal: $field:ident),+ $(,)? }) => {
        $(if $old.$field != $new.$field {
            $old.$field.clone_from(&$new.$field);
            $changes.taken.push(concat!($key, " has changed").to_owned());
        })+
    };
}

/// Copies into `running` all values that can change while the daemon runs.
#[must_use]
pub fn take_over(running: &mut Config, read: &Config) -> Changes {
    let mut changes = Changes::default();
    authorized_clients(running, read, &mut changes);
    if running.added.invitations != read.added.invitations {
        let count = read.added.invitations.len();
        changes.taken.push(format!("nodes that are invited to join and have not yet: {count}"));
    }
    running.added.clone_from(&read.added);
    after_restart!(changes, running.core, read.core, {
        "name": name, "gorgonecore.id": id, "gorgonecore.hostname": hostname, "gorgonecore.timeout": timeout,
        "gorgonecore.external_com_path": external, "gorgonecore.external_com_keysize": key_size,
        "gorgonecore.external_com_rotation": rotation, "gorgonecore.external_com_zmq_tcp_keepalive": tcp_keepalive,
        "gorgonecore.privkey": private_key, "gorgonecore.pubkey": public_key,
        "gorgonecore.fingerprint_mode": fingerprint_mode, "gorgonecore.link": link,
        "gorgonecore.gorgone_db_name": database, "gorgonecore.gorgone_db_*": server, "gorgonecore.cluster": cluster,
        "gorgonecore.storage (or storage_max)": storage,
        "gorgonecore.gorgone_db_synchronous (or db_batch_ms)": commits,
        "gorgonecore.max_message_size": max_message_size, "gorgonecore.max_memory": max_memory,
        "gorgonecore.audit_log": audit_log, "gorgonecore.delegate": delegate,
    });
    take!(changes, running.core, read.core, {
        "gorgonecore.log_severity": log_severity, "gorgonecore.log_format": log_format,
    });
    let (old, new) = (&mut running.modules, &read.modules);
    if let (Some(old), Some(new)) = (&mut old.action, &new.action) {
        action(old, new, &mut changes);
    }
    if let (Some(old), Some(new)) = (&mut old.httpserver, &new.httpserver) {
        api(old, new, &mut changes);
    }
    if let (Some(old), Some(new)) = (&mut old.proxy, &new.proxy) {
        proxy(old, new, &mut changes);
    }
    after_restart!(changes, old, new, {
        "modules (one was added, removed, enabled or disabled)": loaded,
    });
    let is_compared_above =
        |name: &&str| ["modules[action]", "modules[httpserver]", "modules[proxy]", "modules[register]"].contains(name);
    changes.after_restart.extend(old.differing(new).into_iter().filter(|name| !is_compared_above(name)));
    let register = |config: &Config| config.modules.register.as_ref().map(|register| register.file.clone());
    if register(running) != register(read) {
        changes.after_restart.push("modules[register].config_file");
    }
    changes
}

fn authorized_clients(running: &mut Config, read: &Config, changes: &mut Changes) {
    let (old, new) = (&running.core.authorized_clients, &read.core.authorized_clients);
    let added = new.iter().filter(|key| !old.contains(key));
    changes.taken.extend(added.map(|key| format!("gorgonecore.authorized_clients: {key} may connect now")));
    let removed = old.iter().filter(|key| !new.contains(key));
    changes.taken.extend(removed.map(|key| {
        format!("gorgonecore.authorized_clients: {key} may no longer connect, and its sessions are closed")
    }));
    let binding = |config: &Config, key: &str| config.core.bound_keys.get(key).cloned();
    let rebound = new.iter().filter(|key| old.contains(key) && binding(running, key) != binding(read, key));
    changes.taken.extend(rebound.map(|key| {
        format!("gorgonecore.authorized_clients: what {key} may ask for has changed, and its sessions are made anew")
    }));
    running.core.authorized_clients.clone_from(new);
    running.core.bound_keys.clone_from(&read.core.bound_keys);
}

fn action(old: &mut ActionSettings, new: &ActionSettings, changes: &mut Changes) {
    take!(changes, old, new, {
        "modules[action].command_timeout": command_timeout,
        "modules[action].max_concurrent_commands": max_concurrent,
        "modules[action].max_output_size": output_limit,
        "modules[action].max_concurrent_engine": max_concurrent_engine,
        "modules[action].paranoid_plugins": paranoid_plugins,
        "modules[action].copy_roots": copy_roots,
        "modules[action].read_roots": read_roots,
        "modules[action].max_unpack_ratio": max_unpack_ratio,
    });
    after_restart!(changes, old, new, { "modules[action].environment": environment });
    if old.allowed != new.allowed {
        let shown = match &new.allowed {
            None => "every command is allowed now".to_owned(),
            Some(list) if list.is_audit => "commands that do not match are logged and run".to_owned(),
            Some(_) => "the new list is in effect".to_owned(),
        };
        changes.taken.push(format!("modules[action].allowed_cmds: {shown}"));
        old.allowed.clone_from(&new.allowed);
    }
}

fn api(old: &mut HttpSettings, new: &HttpSettings, changes: &mut Changes) {
    take!(changes, old, new, {
        "modules[httpserver].auth": auth,
        "modules[httpserver].auth.users": users,
        "modules[httpserver].allowed_hosts": allowed_hosts,
        "modules[httpserver].trusted_proxies": trusted_proxies,
        "modules[httpserver].host_names": host_names,
    });
    after_restart!(changes, old, new, {
        "modules[httpserver].address": address, "modules[httpserver].port": port, "modules[httpserver].ssl": tls,
        "modules[httpserver].status": status,
    });
}

fn proxy(old: &mut ProxySettings, new: &ProxySettings, changes: &mut Changes) {
    take!(changes, old, new, {
        "modules[proxy].synchistory_time": sync_time,
        "modules[proxy].synchistory_timeout": sync_timeout,
        "modules[proxy].ping": ping,
        "modules[proxy].pong_discard_timeout": pong_discard_timeout,
        "modules[proxy].failover_after": failover_after,
        "modules[proxy].pong_max_timeout": pong_max_timeout,
        "modules[proxy].id_twice": replaces_twice,
        "modules[proxy].buffer_size": buffer_size,
        "modules[proxy].copy_rate_limit": copy_rate_limit,
        "modules[proxy].only_listed": only_listed,
        "modules[proxy].queue": queue,
    });
    after_restart!(changes, old, new, { "modules[proxy].pool": pool });
    match (&mut old.httpserver, &new.httpserver) {
        (Some(old), Some(new)) => {
            take!(changes, old, new, {
                "modules[proxy].httpserver.token": token,
                "modules[proxy].httpserver.tokens": tokens,
                "modules[proxy].httpserver.web_api_tokens": web_api,
                "modules[proxy].httpserver.trusted_proxies": trusted_proxies,
            });
            after_restart!(changes, old, new, {
                "modules[proxy].httpserver.address": address, "modules[proxy].httpserver.port": port,
                "modules[proxy].httpserver.ssl": tls,
            });
        }
        (None, None) => {}
        _ => changes.after_restart.push("modules[proxy].httpserver.enable"),
    }
}
