//! Web servers in front of the central and HTTP proxies before it, each with the configuration of `docs/proxies.md`.
//! A test whose program is not installed says so and is skipped.

use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::json;

use crate::platform::{Daemon, Platform, free_port, seconds, until};
use crate::websocket::{TOKEN, node};

const DOCS: &str = include_str!("../../docs/proxies.md");

/// The configuration of a program as the documentation has it, with ports of this test.
fn documented(name: &str, ports: &[(&str, u16)]) -> String {
    let block = DOCS.split_once(&format!("```{name}\n")).and_then(|(_, rest)| rest.split_once("```")).unwrap().0;
    ports.iter().fold(block.to_owned(), |text, (port, used)| text.replace(port, &used.to_string()))
}

/// Returns the program, if it is installed.
fn installed(name: &str) -> Option<PathBuf> {
    let found = ["/usr/sbin", "/usr/bin"].iter().map(|folder| Path::new(folder).join(name)).find(|path| path.exists());
    if found.is_none() {
        println!("skipped: {name} is not installed");
    }
    found
}

/// A running proxy; killed when dropped.
struct Proxy(Child);

impl Proxy {
    fn start(mut command: Command, port: u16, folder: &Path) -> Self {
        let log = fs::File::create(folder.join("proxy.out")).unwrap();
        let child = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        let proxy = Self(child);
        until("the proxy listens", seconds(20), || TcpStream::connect(("127.0.0.1", port)).ok());
        proxy
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // SIGTERM, because some programs end their children only then.
        let _asked = Command::new("kill").arg(self.0.id().to_string()).status();
        for _ in 0..100 {
            if matches!(self.0.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        let _ended_already = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Calls the API through a proxy from a loopback address and returns status and body.
fn curl(from: &str, port: u16, more: &[&str]) -> (String, String) {
    let url = format!("http://127.0.0.1:{port}/api/internal/thumbprint");
    let output = Command::new("curl")
        .args(["--silent", "--max-time", "20", "--interface", from, "--write-out", "\n%{http_code}", "--header"])
        .arg("Host: gorgone.example.org")
        .args(more)
        .arg(&url)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    (status.to_owned(), body.to_owned())
}

/// A central behind a web server that `start` makes of its port, that of the API and that of the WebSocket listener.
fn stands_in_front(start: impl FnOnce(&Path, u16, u16, u16) -> Command) {
    let platform = Platform::new();
    let (port, listener) = (free_port(), free_port());
    let plan = crate::websocket::central(&platform, listener, &[])
        .with_api_option("host_names: [gorgone.example.org]")
        .with_api_option("trusted_proxies: [127.0.0.1]")
        .with_api_option("allowed_hosts: {enabled: true, subnets: [127.0.0.2, 127.0.0.1/32]}");
    let central = Daemon::start(plan);
    let folder = platform.path("proxy");
    fs::create_dir(&folder).unwrap();
    let command = start(&folder, port, central.plan.api_port.unwrap(), listener);
    let _proxy = Proxy::start(command, port, &folder);
    let (status, body) = curl("127.0.0.2", port, &[]);
    assert!(status == "200" && body.contains("thumbprint"), "{status} {body}");
    // The address of another client is its own, whatever header it sends.
    for claim in ["X-Forwarded-For: 127.0.0.2", "X-Forwarded-For: 203.0.113.1, 127.0.0.2"] {
        assert_eq!(curl("127.0.0.3", port, &["--header", claim]).0, "401", "{claim}");
    }
    central.wait_for_log("127.0.0.3: not in allowed_hosts.subnets", seconds(5));
    // A request from a page of another site is refused; one from the proxy's name is not.
    assert_eq!(curl("127.0.0.2", port, &["--header", "Origin: https://evil.example"]).0, "403");
    assert_eq!(curl("127.0.0.2", port, &["--header", "Origin: https://gorgone.example.org"]).0, "200");
    // A node connects through the proxy, and a command reaches it.
    let _node = Daemon::start(node(&platform, port, &["central_uri: /pullwss"]));
    let api = central.api();
    api.wait_for_pong(7, seconds(20));
    let token = api.command(7, "echo through the proxy");
    let rows = api.finished_rows(7, &token, seconds(20));
    assert!(rows.iter().any(|row| row.to_string().contains("through the proxy")), "{rows:?}");
    let waited = json!([{ "command": "sleep 1; echo waited" }]);
    let answer = api.post("/api/nodes/7/core/action/command?log_wait=20000000", &waited).json();
    assert!(answer.to_string().contains("waited"), "{answer}");
}

#[test]
fn nginx_stands_in_front() {
    let Some(program) = installed("nginx") else { return };
    stands_in_front(|folder, port, api, listener| {
        let site = documented("nginx", &[("8080", port), ("8085", api), ("8086", listener)]);
        let place = folder.display();
        let paths: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|name| format!("{name}_temp_path {place}/{name};\n"))
            .collect();
        let config = format!(
            "daemon off;\nworker_processes 1;\npid {place}/pid;\nerror_log {place}/error.log;\nevents {{}}\nhttp \
             {{\naccess_log off;\n{paths}{site}}}\n"
        );
        fs::write(folder.join("nginx.conf"), config).unwrap();
        let mut command = Command::new(program);
        command.arg("-p").arg(folder).arg("-c").arg(folder.join("nginx.conf"));
        command.arg("-e").arg(folder.join("error.log"));
        command
    });
}

#[test]
fn apache_stands_in_front() {
    let Some(program) = installed("apache2") else { return };
    stands_in_front(|folder, port, api, listener| {
        let site = documented("apache", &[("8080", port), ("8085", api), ("8086", listener)]);
        let place = folder.display();
        let modules: String = ["mpm_event", "authz_core", "proxy", "proxy_http", "proxy_wstunnel"]
            .iter()
            .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
            .collect();
        let config = format!(
            "ServerRoot {place}\nServerName localhost\nPidFile {place}/pid\nDefaultRuntimeDir {place}\nErrorLog \
             {place}/error.log\nUser nobody\nGroup nogroup\n{modules}Mutex pthread\nListen 127.0.0.1:{port}\n{site}"
        );
        fs::write(folder.join("apache.conf"), config).unwrap();
        let mut command = Command::new(program);
        command.args(["-D", "FOREGROUND", "-f"]).arg(folder.join("apache.conf"));
        command
    });
}

#[test]
fn haproxy_stands_in_front() {
    let Some(program) = installed("haproxy") else { return };
    stands_in_front(|folder, port, api, listener| {
        fs::write(
            folder.join("haproxy.cfg"),
            documented("haproxy", &[("8080", port), ("8085", api), ("8086", listener)]),
        )
        .unwrap();
        let mut command = Command::new(program);
        command.arg("-db").arg("-f").arg(folder.join("haproxy.cfg"));
        command
    });
}

#[test]
fn caddy_stands_in_front() {
    let Some(program) = installed("caddy") else { return };
    stands_in_front(|folder, port, api, listener| {
        let site = documented("caddy", &[("8080", port), ("8085", api), ("8086", listener)]);
        fs::write(folder.join("Caddyfile"), format!("{{\n    admin off\n}}\n{site}")).unwrap();
        let mut command = Command::new(program);
        command.args(["run", "--adapter", "caddyfile", "--config"]).arg(folder.join("Caddyfile"));
        command.env("HOME", folder).env("XDG_DATA_HOME", folder).env("XDG_CONFIG_HOME", folder);
        command
    });
}

#[test]
fn lighttpd_stands_in_front() {
    let Some(program) = installed("lighttpd") else { return };
    stands_in_front(|folder, port, api, listener| {
        let site = documented("lighttpd", &[("8080", port), ("8085", api), ("8086", listener)]);
        fs::write(folder.join("lighttpd.conf"), site.replace("/var/empty", &folder.display().to_string())).unwrap();
        let mut command = Command::new(program);
        command.arg("-D").arg("-f").arg(folder.join("lighttpd.conf"));
        command
    });
}

#[test]
fn varnish_stands_in_front() {
    let Some(program) = installed("varnishd") else { return };
    stands_in_front(|folder, port, api, listener| {
        fs::write(folder.join("site.vcl"), documented("varnish", &[("8085", api), ("8086", listener)])).unwrap();
        // Started as root, it compiles as another user, who must be able to reach the folder.
        let _as_a_user = Command::new("chmod").arg("755").arg(folder).status();
        let mut command = Command::new(program);
        command.arg("-F").arg("-n").arg(folder.join("work")).arg("-a").arg(format!("127.0.0.1:{port}"));
        command.arg("-f").arg(folder.join("site.vcl"));
        command
    });
}

/// A node that reaches its central through a proxy. `start` makes the proxy from its own port and the central's; the
/// last argument is the node's option.
fn stands_between(credentials: &str, start: impl FnOnce(&Path, u16, u16) -> Command) {
    let platform = Platform::new();
    let (port, listener) = (free_port(), free_port());
    let central = Daemon::start(crate::websocket::central(&platform, listener, &[]));
    let folder = platform.path("proxy");
    fs::create_dir(&folder).unwrap();
    let command = start(&folder, port, listener);
    let _proxy = Proxy::start(command, port, &folder);
    if !credentials.is_empty() {
        let mut stranger = Daemon::start(node(&platform, listener, &[&format!("proxy: http://127.0.0.1:{port}")]));
        stranger.wait_for_log("put user and password into 'proxy' of module pullwss", seconds(20));
        stranger.kill();
    }
    let option = format!("proxy: http://{credentials}127.0.0.1:{port}");
    let _node = Daemon::start(node(&platform, listener, &[&option]));
    let api = central.api();
    api.wait_for_pong(7, seconds(20));
    let token = api.command(7, "echo through the proxy");
    let rows = api.finished_rows(7, &token, seconds(20));
    assert!(rows.iter().any(|row| row.to_string().contains("through the proxy")), "{rows:?}");
    assert!(!central.log().contains(TOKEN));
}

#[test]
fn squid_stands_between() {
    let Some(program) = installed("squid") else { return };
    stands_between("", |folder, port, listener| {
        let place = folder.display();
        let config = format!(
            "{}pid_filename {place}/pid\ncache_log {place}/cache.log\naccess_log none\ncoredump_dir {place}\n\
             visible_hostname localhost\nshutdown_lifetime 1 seconds\nlogfile_rotate 0\n",
            documented("squid", &[("3128", port), ("8086", listener)])
        );
        fs::write(folder.join("squid.conf"), config).unwrap();
        // Started as root, it changes to another user, who must be able to write the log.
        let _as_a_user = Command::new("chmod").arg("777").arg(folder).status();
        let mut command = Command::new(program);
        command.args(["-N", "-n"]).arg(format!("stheno{port}")).arg("-f").arg(folder.join("squid.conf"));
        command
    });
}

#[test]
fn tinyproxy_stands_between() {
    let Some(program) = installed("tinyproxy") else { return };
    stands_between("user:password@", |folder, port, listener| {
        let config = documented("tinyproxy", &[("3128", port), ("8086", listener)]);
        fs::write(folder.join("tinyproxy.conf"), config).unwrap();
        let mut command = Command::new(program);
        command.arg("-d").arg("-c").arg(folder.join("tinyproxy.conf"));
        command
    });
}

#[test]
fn privoxy_stands_between() {
    let Some(program) = installed("privoxy") else { return };
    stands_between("", |folder, port, _| {
        let place = folder.display();
        let config = format!("{}logdir {place}\n", documented("privoxy", &[("3128", port)]));
        fs::write(folder.join("config"), config).unwrap();
        let mut command = Command::new(program);
        command.arg("--no-daemon").arg(folder.join("config"));
        command
    });
}
