use crate::model::poller::RelationRow;

use super::*;

fn row(id: u32, name: &str) -> PollerRow {
    PollerRow {
        uid: None,
        id: id.to_string(),
        name: name.to_owned(),
        localhost: Some("0".to_owned()),
        address: Some(format!("10.0.0.{id}")),
        port: Some("5556".to_owned()),
        remote_id: None,
        use_as_proxy: Some("1".to_owned()),
        communication_type: Some("1".to_owned()),
    }
}

fn behind(id: u32, remote: u32) -> PollerRow {
    PollerRow { remote_id: Some(remote.to_string()), ..row(id, "behind") }
}

fn central() -> PollerRow {
    PollerRow { localhost: Some("1".to_owned()), ..row(1, "Central") }
}

fn relation(remote: u32, poller: u32) -> RelationRow {
    RelationRow { remote_id: remote.to_string(), poller_id: poller.to_string() }
}

fn plan_of(pollers: Vec<PollerRow>, relations: Vec<RelationRow>) -> PollerPlan {
    plan(&PollerTables { pollers, relations, debug_gorgone: None }, None, Some("ssh"))
}

/// Returns each registration as a line.
fn shown(plan: &PollerPlan) -> Vec<String> {
    let place = |kind: &NodeKind| match kind {
        NodeKind::PushZmq { endpoint } => endpoint.to_string(),
        other => other.as_str().to_owned(),
    };
    let line = |node: &Registration| {
        let below: String = node.subnodes.iter().map(|below| format!(" {}({})", below.id, below.path_score)).collect();
        format!("{} {}{below}", node.id, place(&node.kind))
    };
    plan.registrations.iter().map(line).collect()
}

#[test]
fn the_row_of_the_central_gives_our_id_and_the_others_are_nodes() {
    let plan = plan_of(vec![row(3, "c"), central(), row(2, "b")], Vec::new());
    assert_eq!(plan.own_id.map(NodeId::get), Some(1));
    assert_eq!(shown(&plan), ["2 tcp://10.0.0.2:5556", "3 tcp://10.0.0.3:5556"]);
    assert_eq!(plan.complaints, Vec::<String>::new());
}

#[test]
fn the_type_says_how_a_poller_is_reached_and_anything_else_is_push_zmq() {
    let of = |id, kind: Option<&str>| PollerRow { communication_type: kind.map(str::to_owned), ..row(id, "x") };
    let rows =
        vec![of(2, Some("1")), of(3, Some("2")), of(4, Some("3")), of(5, Some("4")), of(6, None), of(7, Some("9"))];
    let expected =
        ["2 tcp://10.0.0.2:5556", "3 push_ssh", "4 pull", "5 wss", "6 tcp://10.0.0.6:5556", "7 tcp://10.0.0.7:5556"];
    assert_eq!(shown(&plan_of(rows, Vec::new())), expected);
}

#[test]
fn an_older_schema_without_columns_gives_the_defaults_of_the_original() {
    let bare = PollerRow { id: "2".into(), address: Some("poller.example".into()), ..PollerRow::default() };
    assert_eq!(shown(&plan_of(vec![bare], Vec::new())), ["2 tcp://poller.example:5556"]);
}

#[test]
fn a_poller_goes_behind_its_remote_server_and_relations_are_further_ways() {
    let rows = vec![central(), row(2, "remote"), row(3, "remote"), behind(4, 2), behind(5, 2)];
    let plan = plan_of(rows, vec![relation(3, 4), relation(2, 4), relation(3, 9), relation(9, 4), relation(3, 3)]);
    assert_eq!(shown(&plan), ["2 tcp://10.0.0.2:5556 4(1) 5(1)", "3 tcp://10.0.0.3:5556 4(100)"]);
    let direct = PollerRow { use_as_proxy: Some("0".into()), ..behind(4, 2) };
    let plan = plan_of(vec![central(), row(2, "remote"), direct], vec![relation(2, 4)]);
    assert_eq!(shown(&plan), ["2 tcp://10.0.0.2:5556 4(100)", "4 tcp://10.0.0.4:5556"]);
}

#[test]
fn remote_servers_may_stand_behind_each_other_or_be_ourselves() {
    let plan = plan_of(vec![central(), row(2, "remote"), behind(3, 2), behind(4, 3), behind(5, 1)], Vec::new());
    assert_eq!(shown(&plan), ["2 tcp://10.0.0.2:5556 3(1) 4(1)", "5 tcp://10.0.0.5:5556"]);
}

#[test]
fn a_poller_behind_nobody_or_in_a_circle_is_named() {
    let plan = plan_of(vec![central(), behind(2, 7), behind(3, 4), behind(4, 3), behind(5, 5)], Vec::new());
    assert_eq!(shown(&plan), Vec::<String>::new());
    assert_eq!(plan.complaints.len(), 4);
    assert_eq!(
        plan.complaints[0],
        "poller 2 'behind' is behind the remote server 7, which is not active, so it is not reached"
    );
    assert!(plan.complaints[1].contains("'behind' is behind a remote server that is behind it"));
}

#[test]
fn a_value_that_is_no_address_or_no_port_concerns_its_row_alone() {
    let long = "a".repeat(10_000);
    let hostile = [
        "",
        " ",
        "10.0.0.1 ",
        "10.0.0.1\n10.0.0.2",
        "a\"b",
        "a'b",
        "../etc",
        "10.0.0.1:5556",
        "tcp://10.0.0.1",
        "*",
        "a;b",
        &long,
        "\u{0}",
    ];
    for address in hostile {
        let bad = PollerRow { address: Some(address.to_owned()), ..row(2, "b\"a\nd") };
        let plan = plan_of(vec![central(), bad, row(3, "good")], Vec::new());
        assert_eq!(shown(&plan), ["3 tcp://10.0.0.3:5556"], "{address:?}");
        assert_eq!(plan.refused.iter().map(|id| id.get()).collect::<Vec<_>>(), [2]);
        let [text] = plan.complaints.as_slice() else { panic!("{:?}", plan.complaints) };
        assert!(text.starts_with("poller 2 'b\\\"a\\nd' has ") && text.len() < 400, "{text}");
    }
    for port in ["0", "65536", "-1", "x", "5556 "] {
        let bad = PollerRow { port: Some(port.to_owned()), ..row(2, "b") };
        let plan = plan_of(vec![bad], Vec::new());
        assert!(plan.complaints[0].contains(&format!("has the invalid port '{port}'")), "{:?}", plan.complaints);
    }
    // A node that dials in needs no address.
    let pull = PollerRow { address: Some("a b".into()), communication_type: Some("3".into()), ..row(2, "b") };
    assert_eq!(shown(&plan_of(vec![pull], Vec::new())), ["2 pull"]);
}

#[test]
fn two_centrals_an_id_that_is_none_and_our_own_id_are_told() {
    let bad = PollerRow { id: "-5".into(), ..row(2, "bad") };
    let second = PollerRow { localhost: Some("1".into()), ..row(6, "second") };
    let tables =
        PollerTables { pollers: vec![central(), second, bad, row(3, "c"), row(4, "we")], ..PollerTables::default() };
    let plan = plan(&tables, Some(NodeId::new(4).unwrap()), None);
    assert_eq!((plan.own_id.map(NodeId::get), shown(&plan)), (Some(1), vec!["3 tcp://10.0.0.3:5556".to_owned()]));
    let expected = [
        "poller 6 'second' is marked as localhost, but so is 1, which counts",
        "a poller 'bad' has the invalid id '-5'",
        "the database has our own id as 1, the configuration as 4, which counts",
        "poller 'we' has our own id 4",
    ];
    assert_eq!(plan.complaints, expected);
}
