//! Registrations, constatus maps and history rows that make no sense: whoever can act on it gets a clear message, and
//! everyone else is served.

use serde_json::{Value, json};

use crate::platform::client::Client;
use crate::platform::{Daemon, Platform, seconds};

/// Returns the code and the message of the reply to a registration.
#[track_caller]
fn register(client: &mut Client, nodes: &Value) -> (i64, String) {
    let reply = client.request("REGISTERNODES", "register", "", &json!({ "nodes": nodes }));
    (reply.json["code"].as_i64().unwrap(), reply.json["data"]["message"].as_str().unwrap().to_owned())
}

#[test]
fn registrations_that_make_no_sense_are_refused_by_name() {
    let platform = Platform::new();
    let (mut central, _poller) = platform.pair();
    let mut client = central.client();
    let absurd = [
        json!(""),
        json!(-1),
        json!(1e300),
        json!("../x"),
        json!([]),
        json!(null),
        json!("18446744073709551616"),
        json!(0),
    ];
    for id in absurd {
        let (code, text) = register(&mut client, &json!([{ "id": id, "type": "pull" }]));
        assert!(
            code == 1 && text.contains("id") && text.contains("allowed: a whole number from 1"),
            "{id}: {code} {text}"
        );
        let (code, text) = register(&mut client, &json!([{ "id": 50, "type": "pull", "nodes": [{ "id": id }] }]));
        assert!(
            code == 1 && text.contains("node '50' has in nodes[0] ") && text.contains(" id"),
            "{id}: {code} {text}"
        );
    }
    let (code, text) = register(&mut client, &json!([{ "id": 1, "type": "pull" }]));
    assert!(code == 1 && text.contains("our own id"), "{code} {text}");
    for score in [json!("best"), json!([]), json!("nan")] {
        let node = json!([{ "id": 50, "type": "pull", "nodes": [{ "id": 51, "pathscore": score }] }]);
        let (code, text) = register(&mut client, &node);
        assert!(code == 1 && text.contains("node '50' has in nodes[0] the invalid pathscore"), "{code} {text}");
    }
    let (code, text) = register(&mut client, &json!([{ "id": 50, "type": "pull", "nodes": "51" }]));
    assert!(code == 1 && text.contains("nodes that are not a list"), "{code} {text}");

    let subnodes = |count: u32| (0..count).map(|number| json!({ "id": 1_000 + number })).collect::<Vec<_>>();
    let (code, text) = register(&mut client, &json!([{ "id": 50, "type": "pull", "nodes": subnodes(20_001) }]));
    assert!(code == 1 && text.contains("more than 20000 subnodes"), "{code} {text}");
    let api = central.api();
    assert!(api.node_status(50).is_null(), "nothing of it was registered");
    assert_eq!(register(&mut client, &json!([{ "id": 50, "type": "pull", "nodes": subnodes(10_000) }])).0, 2);
    let last = api.get("/api/internal/routes/10999").json();
    assert_eq!(last["data"]["10999"]["candidates"][0]["through"], json!(50), "{last}");

    let log = central.log();
    for words in ["invalid id '../x'; allowed: a whole", "pathscore 'best'; allowed: a whole", "that is our own id"] {
        assert!(log.contains(words), "no '{words}' in\n{log}");
    }
    assert_eq!(api.output_of(2, "echo served", seconds(10)), "served");
    central.assert_running();
}

#[test]
fn a_node_speaks_for_itself_only_and_its_nonsense_is_named() {
    let platform = Platform::new();
    let poller = Daemon::start(platform.plan("poller", 2));
    // The register file gives node 2 a second name.
    let plan = platform.central_with(&[&poller]).with_node(5, poller.plan.port).with_proxy("ping: 1");
    let mut central = Daemon::start(plan);
    let api = central.api();
    central.wait_for_log("node '5' sends PONG of node '2': ignored", seconds(10));
    assert_eq!(api.node_status(5)["ping_ok"], json!(0));

    let mut node = Client::connect(central.plan.port, "client", "gorgone-6").unwrap();
    let stranger = node.request("REGISTERNODES", "r", "", &json!({ "nodes": [{ "id": 6, "type": "pull" }] }));
    assert_eq!(stranger.json["code"], json!(2));
    node.send("SETLOGS", "s", "", &json!({ "data": { "action": "getlog", "id": 6, "result": [] } })).unwrap();
    central.wait_for_log("SETLOGS of a client that has not registered as a node", seconds(10));
    let itself = json!({ "nodes": [{ "id": 6, "type": "pull", "identity": "gorgone-6" }] });
    node.request("REGISTERNODES", "r", "", &itself);

    let deep = format!("{}{{}}{}", "{\"7\":{\"nodes\":".repeat(1_000), "}}".repeat(1_000));
    node.send_plain(format!("[PONG] [] [] {{\"code\":0,\"data\":{{\"id\":6,\"data\":{deep}}}}}").as_bytes()).unwrap();
    central.wait_for_log("node '6' announces the nodes behind it in a map that", seconds(10));
    let claims = json!({ "1": {}, "2": { "nodes": { "77": {} } }, "6": {}, "../x": {}, "-1": {} });
    node.send("PONG", "", "", &json!({ "code": 0, "data": { "id": 6, "data": claims } })).unwrap();
    node.send("PONG", "", "", &json!({ "code": 0, "data": { "id": 2, "data": { "88": {} } } })).unwrap();
    central.wait_for_log("node '6' sends PONG of node '2': ignored", seconds(10));
    let routes = api.get("/api/internal/routes").json()["data"].clone();
    assert_eq!((&routes["2"]["in_use"], &routes["77"]["in_use"]), (&json!(2), &json!(6)), "{routes}");
    assert!(["1", "88", "../x", "-1"].iter().all(|id| routes.get(id).is_none()), "{routes}");

    let of_another = json!([{ "id": 1, "ctime": 5.5, "token": "forged", "code": 2, "data": "x" }]);
    node.send("SETLOGS", "", "", &json!({ "data": { "action": "getlog", "id": 2, "result": of_another } })).unwrap();
    central.wait_for_log("node '6' sends SETLOGS of node '2': ignored", seconds(10));
    let rows = r#"[{"id":1,"ctime":1e308,"token":"absurd"},{"id":2,"ctime":-1,"token":"absurd"},{"id":3,"ctime":"soon","token":"absurd"},
        {"id":-4,"ctime":5.5,"etime":1e308,"code":1e308,"token":"absurd","instant":"x","data":{"a":1}},
        {"id":"5","ctime":"6.5","etime":"yesterday","code":{},"token":"absurd","data":[]},
        {"id":1e308,"ctime":7.5,"etime":-1e308,"code":-7,"token":{},"data":null}]"#;
    let text = format!("[SETLOGS] [] [] {{\"code\":0,\"data\":{{\"action\":\"getlog\",\"id\":6,\"result\":{rows}}}}}");
    node.send_plain(text.as_bytes()).unwrap();
    central.wait_for_log("3 history rows of node '6' have an invalid ctime: they are left out", seconds(10));
    let absurd = json!({ "code": 1e308, "etime": "1e308", "token": "put", "instant": [], "data": {} });
    assert_eq!(node.request("PUTLOG", "p", "", &absurd).json["code"], json!(0));
    let mut rows_of = |token: &str| {
        let reply = node.request("GETLOG", "look", "", &json!({ "token": token }));
        reply.json["data"]["result"].as_array().unwrap().len()
    };
    assert_eq!((rows_of("absurd"), rows_of("put"), rows_of("forged")), (2, 1, 0));
    assert_eq!(api.output_of(2, "echo served", seconds(10)), "served");
    central.assert_running();
}
