//! The status page in a real browser.

use std::process::{Command, Stdio};

use crate::platform::{Daemon, Platform, seconds};
use crate::script::Script;

#[test]
fn the_status_page_works_in_a_browser_by_keyboard_on_a_phone_and_in_the_dark() {
    let has_browser = Command::new("chromium").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if has_browser.is_err() {
        return eprintln!("SKIPPED: chromium (Debian package) is not installed");
    }
    let platform = Platform::new();
    let poller = Daemon::start(platform.plan("poller", 2));
    let other = Daemon::start(platform.plan("other", 3));
    let plan = platform.central_with(&[&poller, &other]).with_node(4, crate::platform::free_port());
    let central = Daemon::start(plan);
    central.api().wait_for_pong(2, seconds(20));
    let url = format!("http://127.0.0.1:{}/", central.plan.api_port.unwrap());
    let pictures =
        std::env::var("STHENO_SCREENSHOTS").unwrap_or_else(|_| platform.path("pictures").display().to_string());
    std::fs::create_dir_all(&pictures).unwrap();
    let said = Script::start("browser", &[url, poller.pid().to_string(), pictures]).succeeds(seconds(120));
    eprintln!("{said}");
}
