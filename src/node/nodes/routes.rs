//! ROUTES and `GET /api/internal/routes[/<id>]`: for each known id the routes to it in order, the one in use, and why
//! the others are not. This is our own action; the original has none like it.

use serde_json::{Map, Value, json};

use crate::model::action::Action;
use crate::model::code::Code;
use crate::model::node_id::NodeId;
use crate::model::token::Token;

use super::Nodes;
use super::pathway::{self, Patience, Standing};
use super::registry::Way;
use crate::node::api::CANNOT_STORE;
use crate::node::context::Context;
use crate::node::peer::{Handled, Peer};

/// Maximum number of ids in one answer. The answer has the id with which to ask for the rest.
const IDS_MAX: usize = 5_000;

impl Nodes {
    /// Returns the whole table, or the routes to the one id that the call names.
    pub(in crate::node) fn routes(&self, context: &mut Context, peer: Peer, token: &Token, data: &str) -> Handled {
        let asked: Value = serde_json::from_str(data).unwrap_or_default();
        let named = |pointer: &str| asked.pointer(pointer).filter(|id| !id.is_null());
        let names = &context.names;
        let read = |id: &Value| NodeId::from_json(id).map(|id| names.id_of(id)).map_err(|error| error.to_string());
        let one = named("/variables/0").or_else(|| named("/id")).map(read).transpose();
        let from = named("/parameters/from").or_else(|| named("/from")).map(read).transpose();
        let (one, from) = match (one, from) {
            (Ok(one), Ok(from)) => (one, from),
            (Err(text), _) | (_, Err(text)) => {
                return routes_answered(context, peer, token, Code::FINISHED_KO, json!({ "message": text }));
            }
        };
        let mut routes = Map::new();
        let mut next = None;
        if let Some(id) = one {
            routes.insert(id.to_string(), self.ways_to(context, id));
        } else if let Some(first) = from.or_else(|| NodeId::new(1).ok()) {
            let mut ids = self.registry.known_from(first);
            let page: Vec<NodeId> = ids.by_ref().take(IDS_MAX).collect();
            next = ids.next();
            drop(ids);
            routes.extend(page.into_iter().map(|id| (id.to_string(), self.ways_to(context, id))));
        }
        let mut answer = json!({ "action": "routes", "message": "ok", "data": routes });
        if let (Some(next), Some(answer)) = (next, answer.as_object_mut()) {
            answer.insert("next".to_owned(), next.to_json());
        }
        routes_answered(context, peer, token, Code::FINISHED_OK, answer)
    }

    fn ways_to(&self, context: &Context, target: NodeId) -> Value {
        let (now, patience) = (context.now.monotonic, Self::patience(context));
        let chosen = pathway::choose(&self.registry, &target.to_string(), now, patience);
        let in_use = chosen.as_ref().ok().map(|route| route.through);
        let mut taken = None;
        let candidates = self.registry.candidates(target).map(|(through, way, node)| {
            let standing = pathway::standing(node, now, patience);
            // A node may appear twice; its first appearance counts.
            let is_used = taken.is_none() && in_use == Some(through);
            let why = why_not(standing, patience, is_used, taken);
            if is_used {
                taken = Some(through);
            }
            let (kind, pathscore, steps) = match way {
                Way::Direct => ("direct", None, None),
                Way::Static(score) => ("static", Some(score), None),
                Way::Dynamic(distance) => ("dynamic", None, Some(distance.steps)),
            };
            let mut entry = json!({
                "through": through.to_json(),
                "type": node.registration.kind.as_str(),
                "route": kind,
                "in_use": is_used,
                "why": why,
            });
            if let Some(entry) = entry.as_object_mut() {
                entry.extend(self.registry.link_kind(node).map(|link| ("link".to_owned(), json!(link.word()))));
                entry.extend(pathscore.map(|score| ("pathscore".to_owned(), json!(score))));
                entry.extend(steps.map(|steps| ("steps".to_owned(), json!(steps))));
            }
            entry
        });
        let candidates: Vec<Value> = candidates.collect();
        let mut ways = match chosen {
            Ok(route) => json!({ "in_use": route.through.to_json(), "candidates": candidates }),
            Err(text) => json!({ "in_use": null, "error": text, "candidates": candidates }),
        };
        if let (Some(uid), Some(ways)) = (context.names.uid_of(target), ways.as_object_mut()) {
            ways.insert("uid".to_owned(), uid.to_json());
        }
        if let Some(ways) = ways.as_object_mut().filter(|_| !context.stores) {
            ways.insert("history".to_owned(), json!(CANNOT_STORE));
        }
        ways
    }
}

/// As with CONSTATUS, a page that refreshes all the time must not fill the disk.
fn routes_answered(context: &mut Context, peer: Peer, token: &Token, code: Code, data: Value) -> Handled {
    match peer {
        Peer::Ourselves => Handled::Reply(Action::Ack, code, data.to_string()),
        Peer::Client(_) | Peer::ClientWithoutToken(_) => {
            context.reply_with_row(Action::Ack, token, code, data.to_string())
        }
    }
}

/// Returns what is wrong with a candidate, as a sentence, even for the one that is the last resort.
fn why_not(standing: Standing, patience: Patience, is_used: bool, taken: Option<NodeId>) -> Option<String> {
    let resort = if is_used { "; no other way is better" } else { "" };
    let against = match standing {
        Standing::Live => {
            return taken.filter(|_| !is_used).map(|taken| format!("node '{taken}' comes first"));
        }
        Standing::NeverConnected => "it has never connected to us".to_owned(),
        Standing::NotConnected => "it connects to us and is not connected now".to_owned(),
        Standing::Down(down) => {
            let limit = patience.failover_after.as_secs();
            format!("our connection to it is down for {} s (failover_after: {limit})", down.as_secs())
        }
        Standing::Silent(silent) => {
            let limit = patience.pong_discard.as_secs();
            format!("its last PONG is {} s old (pong_discard_timeout: {limit})", silent.as_secs())
        }
    };
    Some(against + resort)
}

#[cfg(test)]
mod tests {
    use crate::model::registration::{NodeKind, Registration, Subnode};

    use super::*;
    use crate::node::input::Input;
    use crate::node::testing::{Bench, id, node_message, options, push_node};

    fn routes(bench: &mut Bench, path: &str) -> Value {
        let lines = bench.call(1, crate::model::api::Method::Get, &format!("internal/routes{path}"), "");
        let [line] = &lines[..] else { panic!("{lines:?}") };
        serde_json::from_str(line.strip_prefix("answer 1 200 ").unwrap()).unwrap()
    }

    fn behind(parent: u64, score: i64) -> Registration {
        Registration { subnodes: vec![Subnode { id: id(7), path_score: score, uid: None }], ..push_node(parent) }
    }

    #[test]
    fn every_known_id_shows_its_ways_the_one_in_use_and_why_not_the_others() {
        let pull = Registration { kind: NodeKind::Pull, ..behind(4, 1) };
        let mut bench = Bench::new(options(vec![behind(2, 5), behind(3, 2), pull]));
        bench.give(Input::LinkUp(id(2)));
        let pong = r#"{"code":0,"data":{"action":"ping","data":{"9":{"nodes":{"8":{}}}}}}"#;
        bench.give(node_message(2, "PONG", "", pong));
        bench.pass_seconds(31);
        let all = routes(&mut bench, "");
        let ids: Vec<&String> = all["data"].as_object().unwrap().keys().collect();
        assert_eq!(ids, ["2", "3", "4", "7", "8", "9"]);
        let way = |through: u64, kind: &str, score: i64, used: bool, why: Option<&str>| json!({ "through": through, "type": kind, "route": "static", "pathscore": score, "in_use": used, "why": why });
        let expected = json!({ "in_use": 2, "candidates": [
            way(4, "pull", 1, false, Some("it has never connected to us")),
            way(3, "push_zmq", 2, false, Some("our connection to it is down for 31 s (failover_after: 30)")),
            way(2, "push_zmq", 5, true, None),
        ]});
        assert_eq!(all["data"]["7"], expected);
        assert_eq!(all["data"]["8"]["candidates"][0]["steps"], json!(2));
        let why = "our connection to it is down for 31 s (failover_after: 30); no other way is better";
        assert_eq!(all["data"]["3"]["candidates"][0]["why"], json!(why));
        assert_eq!(all["data"]["4"]["error"], json!("proxy - node '4' had never been connected"));
    }

    #[test]
    fn one_id_may_be_asked_for() {
        let mut bench = Bench::new(options(vec![push_node(2)]));
        assert_eq!(routes(&mut bench, "/2")["data"].as_object().unwrap().len(), 1);
        assert_eq!(routes(&mut bench, "/77")["data"]["77"]["error"], json!("proxy - unknown target 77"));
        assert!(!routes(&mut bench, "/x")["message"].as_str().unwrap().is_empty());
    }

    #[test]
    fn a_long_table_comes_in_pages() {
        let subnodes = (100..5_200).map(|number| Subnode { id: id(number), path_score: 1, uid: None }).collect();
        let mut bench = Bench::new(options(vec![Registration { subnodes, ..push_node(2) }]));
        let first = routes(&mut bench, "");
        assert_eq!((first["data"].as_object().unwrap().len(), &first["next"]), (IDS_MAX, &json!(5_099)));
        let rest = routes(&mut bench, "?from=5099");
        assert_eq!((rest["data"].as_object().unwrap().len(), &rest["next"]), (101, &Value::Null));
    }
}
