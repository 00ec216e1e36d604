//! Commands through a central.

use std::time::{Duration, Instant};

use crate::http_client::{HttpClient, request};
use crate::load::per_second;
use crate::platform::{Daemon, Role};
use crate::process::own_cpu_seconds;
use crate::report::{Figure, Target};
use crate::{Outcome, Scale};

const CONNECTIONS: usize = 10;
const PATIENCE: Duration = Duration::from_secs(60);

/// Posts `echo` commands all at once: time until the last row of each is in the central's history.
pub fn commands_200(scale: Scale) -> Outcome<Vec<Figure>> {
    let pollers = [Daemon::start_ready(&Role::poller(2))?];
    let mut central = Daemon::start_ready(&Role::central(&pollers))?;
    central.wait_for_pongs(1)?;
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        clients.push(HttpClient::connect(central.api_port)?);
    }
    let per_client = scale.of(200).div_ceil(CONNECTIONS);
    let count = per_client.saturating_mul(CONNECTIONS);
    let post =
        request("POST", "/api/nodes/2/core/action/command", r#"[{"command":"echo measured"}]"#).repeat(per_client);

    let begun = Instant::now();
    for client in &mut clients {
        client.send(post.as_bytes())?;
    }
    let mut tokens = Vec::new();
    for client in &mut clients {
        receive_tokens(client, per_client, &mut tokens)?;
    }
    let client = clients.first_mut().ok_or("no connection")?;
    wait_for_all(client, tokens)?;
    let value = per_second(count, begun.elapsed());
    Ok(vec![Figure { part: "", value, unit: "/s", target: Target::AtLeast(300.0), original: Some(17.9) }])
}

/// Posts a command for node 2 `count` times at once, and returns the tokens.
pub fn post_commands(client: &mut HttpClient, command: &str, count: usize) -> Outcome<Vec<String>> {
    let body = format!(r#"[{{"command":"{command}"}}]"#);
    client.send(request("POST", "/api/nodes/2/core/action/command", &body).repeat(count).as_bytes())?;
    let mut tokens = Vec::new();
    receive_tokens(client, count, &mut tokens)?;
    Ok(tokens)
}

fn receive_tokens(client: &mut HttpClient, count: usize, tokens: &mut Vec<String>) -> Outcome<()> {
    for _ in 0..count {
        let answer = client.receive()?.json()?;
        let token = answer.get("token").and_then(|token| token.as_str()).ok_or("an answer without token")?;
        tokens.push(token.to_owned());
    }
    Ok(())
}

/// COMMAND `true`, one every 60 ms for a minute: processor time of the daemon without its children.
pub fn commands_1000_a_minute(scale: Scale) -> Outcome<Vec<Figure>> {
    const PERIOD: Duration = Duration::from_millis(60);
    let daemon = Daemon::start_ready(&Role { with_api: true, ..Role::poller(1) })?;
    let mut client = HttpClient::connect(daemon.api_port)?;
    let post = request("POST", "/api/core/action/command", r#"[{"command":"true"}]"#);
    let before = own_cpu_seconds(daemon.process())?;
    let begun = Instant::now();
    for number in 0..scale.of(1_000) {
        let due = PERIOD.saturating_mul(u32::try_from(number)?);
        std::thread::sleep(due.saturating_sub(begun.elapsed()));
        client.send(post.as_bytes())?;
        client.receive()?;
    }
    std::thread::sleep(PERIOD);
    let used = own_cpu_seconds(daemon.process())? - before;
    let value = 100.0 * used / begun.elapsed().as_secs_f64();
    Ok(vec![Figure { part: "", value, unit: "% of a core", target: Target::AtMost(5.0), original: None }])
}

/// Requests the node's log and reads the central's history, as a user of the API would, until every token has
/// succeeded.
pub fn wait_for_all(client: &mut HttpClient, mut tokens: Vec<String>) -> Outcome<()> {
    let begun = Instant::now();
    while let Some(token) = tokens.first() {
        if begun.elapsed() > PATIENCE {
            return Err(format!("{} commands have no result after {} s", tokens.len(), PATIENCE.as_secs()).into());
        }
        client.get(&format!("/api/nodes/2/log/{token}?sync_wait=20000"))?;
        let questions: String =
            tokens.iter().map(|token| request("GET", &format!("/api/log/{token}?code=2"), "")).collect();
        client.send(questions.as_bytes())?;
        let mut unfinished = Vec::new();
        for token in tokens {
            let answer = client.receive()?.json()?;
            let rows = answer.get("data").and_then(|rows| rows.as_array()).map_or(0, Vec::len);
            if rows == 0 {
                unfinished.push(token);
            }
        }
        tokens = unfinished;
    }
    Ok(())
}
